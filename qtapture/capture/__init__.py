"""Off the kernel's rings: loaders, attach planning, discovery of libraries and processes.

Rule 1: this island runs on Linux alone and knows nothing of sessions or of what bytes mean.
Rule 2: bcc lives in a child that ends once programs are loaded; ELF files are read in the
        attacher's process; the recorder's own process does neither.
Rule 3: features are detected by trying, never by a version.
"""
