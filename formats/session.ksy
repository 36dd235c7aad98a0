meta:
  id: qtap_session
  title: qtapture session file, its frames
  file-extension: qtap
  license: MIT
  endian: le
doc: |
  formats/session.md is normative. Payloads are bytes here: decompressed by zstd they are what
  session-content.ksy describes.
seq:
  - id: frames
    type: frame
    repeat: eos
types:
  frame:
    seq:
      - id: magic
        type: u4
        enum: magics
      - id: size
        type: u4
      - id: body
        size: size
        type:
          switch-on: magic
          cases:
            'magics::header': header
            'magics::chunk': chunk
            'magics::index': index
            'magics::hole': hole
      - id: payload
        size: body.as<chunk>.stored_len
        if: magic == magics::chunk
  header:
    seq:
      - id: mark
        contents: QTAP
      - id: version
        type: u2
      - id: flags
        type: u2
      - id: len_facts
        type: u4
      - id: facts
        size: len_facts
        type: str
        encoding: ASCII
      - id: crc
        type: u4
  chunk:
    seq:
      - id: mark
        contents: QTCK
      - id: version
        type: u2
      - id: kind
        type: u2
        enum: kinds
      - id: flags
        type: u4
      - id: sequence
        type: u4
      - id: first_ns
        type: u8
      - id: last_ns
        type: u8
      - id: records
        type: u4
      - id: content_len
        type: u4
      - id: stored_len
        type: u4
      - id: stored_hash
        size: 32
      - id: previous
        size: 32
      - id: chain
        size: 32
      - id: crc
        type: u4
  index:
    seq:
      - id: mark
        contents: QTIX
      - id: version
        type: u2
      - id: flags
        type: u2
      - id: sequence
        type: u4
      - id: num_rows
        type: u4
      - id: rows
        type: index_row
        repeat: expr
        repeat-expr: num_rows
      - id: previous
        size: 32
      - id: chain
        size: 32
      - id: crc
        type: u4
  index_row:
    seq:
      - id: offset
        type: u8
      - id: sequence
        type: u4
      - id: kind
        type: u2
        enum: kinds
      - id: flags
        type: u2
      - id: first_ns
        type: u8
      - id: last_ns
        type: u8
  hole:
    seq:
      - id: mark
        contents: QTHO
      - id: version
        type: u2
      - id: flags
        type: u2
      - id: last
        type: u4
      - id: last_chain
        size: 32
      - id: next
        type: u4
      - id: next_previous
        size: 32
      - id: crc
        type: u4
enums:
  magics:
    0x184d2a5c: header
    0x184d2a5d: chunk
    0x184d2a5e: index
    0x184d2a5f: hole
  kinds:
    1: ring
    2: event
    3: secrets
    4: checkpoint
    5: manifest
    6: encrypted
    7: signature
    8: continued
