/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* State that lives in the kernel during a recording, and the structs it is made of. */
#ifndef QT_MAPS_H
#define QT_MAPS_H

#define QT_PIECE 16384       /* a TLS record's most; per-CPU values must stay below 32 KiB */
#define QT_PIECES 32         /* per program: more costs seconds in the verifier */
#define QT_HEAD_BYTES 64     /* of a call on a TLS socket: covers QT_RECORD_HEAD */
#define QT_HELLO_BYTES 65536 /* per direction: every hello seen in the wild fits */
#define QT_PACED 65536       /* writes beyond it are copied record by record */
#define QT_FRAMES 4          /* TLS calls nested in one thread; TLS in TLS needs two */

/* qt_config.flags; qtapture/capture/kernel_config.py has the same names */
#define QT_SCOPE_ALL 1   /* every process but those marked out */
#define QT_SCOPE_USERS 2 /* members of `users` */
#define QT_SCOPE_COMMS 4 /* members of `comms` */
#define QT_SCOPE_PORTS 8 /* only sockets with an end in `ports` */
#define QT_STOP 16       /* stop descendants of COMMAND while files are undecided */
#define QT_NO_CHILDREN 32

struct qt_config {
	u32 flags;
	u32 reserved;
};

/* members: what is known of a process */
#define QT_MEMBER_IN 1
#define QT_MEMBER_COMMAND 2 /* COMMAND or a descendant of it */
#define QT_MEMBER_OUT 4     /* ours */
#define QT_MEMBER_WATCHES 8 /* a shell on a terminal: it takes a stopped child for a job */

struct qt_name {
	char text[16];
};

struct qt_file {
	u64 inode;
	u32 dev; /* as the kernel has it: major << 20 | minor */
	u32 reserved;
};

struct qt_sock_entry {
	u64 birth_ns;
	u64 inode;
	u64 seen[2]; /* bytes by direction: received, sent */
	u64 ssl;     /* the SSL object that speaks over it, 0 if none */
	u64 owner_ticks;
	u32 owner_pid;
	u32 ssl_pid;
	u8 tls[2];   /* the direction carries TLS records */
	u8 heads[2]; /* the hellos are over */
	u8 older;
	u8 scoped; /* samples of it are wanted */
	u8 port_out;
	u8 introduced; /* QT_SOCK_SEEN was given */
};

struct qt_ssl_key {
	u64 ssl;
	u32 pid;
	u32 reserved;
};

struct qt_ssl_entry {
	u64 birth_ns;
	u64 moved[2]; /* bytes by direction: read, written */
	u64 ahead;    /* bytes of a large write that were copied before it has returned */
	u64 pending;  /* a record of it waits: the next BIO_write is that one again */
	struct qt_sockid sock;
	u64 port_out; /* as the socket that it speaks over, which may be gone before it */
};

/* One TLS call in progress. */
struct qt_frame {
	u64 sp; /* at entry: the return address is there */
	u64 ssl;
	u64 buf;
	u64 len;
	u64 done; /* where the _ex calls put the length */
	u64 begin_ns;
	u32 function;
	u32 library;
	u32 inner; /* called by another TLS call on the same object: not counted again */
	u32 reserved;
};

struct qt_thread {
	u64 depth;
	struct qt_frame frames[QT_FRAMES];
};

struct qt_record_key {
	u32 pid;
	u8 head[QT_RECORD_HEAD + 1];
};

/* Where the next piece of a call is: a buffer, or a vector of them. */
struct qt_cursor {
	u64 vector; /* user address of the next iovec */
	u64 vectors;
	u64 base;
	u64 base_left;
	u64 left; /* of the whole call */
	u64 done;
	u64 offset; /* of the call in its direction */
};

/* A scratch buffer belongs to one program context and says so: a busy one is a counted
 * loss, never a wrong sample (uprobe programs are preemptible). */
struct qt_sock_scratch {
	u64 busy;
	struct qt_cursor at;
	struct qt_sock_data sample;
	u8 data[QT_PIECE];
};

struct qt_tls_scratch {
	u64 busy;
	struct qt_cursor at;
	struct qt_tls_data sample;
	u8 data[QT_PIECE];
};

struct qt_exec_scratch {
	u64 busy;
	struct qt_exec exec;
	u8 file[4096];
	struct qt_exec_args args;
	u8 data[QT_PIECE];
};

QT_PERF(control)
QT_PERF(payload)
QT_PERF(secrets)
QT_PERF(steer)
QT_PERCPU(counts, struct qt_count, 6)
QT_ARRAY(config, struct qt_config, 1)
QT_HASH(members, u32, u32, 65536)
QT_HASH(users, u32, u32, 1024)
QT_HASH(comms, struct qt_name, u32, 1024)
QT_HASH(ports, u32, u32, 1024)
QT_HASH(decided, struct qt_file, u32, 65536)
QT_HASH(watchers, struct qt_name, u32, 64)
QT_HASH(shells, struct qt_name, u32, 64)
QT_HASH(stopped, u32, u64, 16384)
QT_LRU(mapped_text, u32, u64, 16384)
QT_LRU(socks, u64, struct qt_sock_entry, 131072)
QT_LRU(ssls, struct qt_ssl_key, struct qt_ssl_entry, 131072)
QT_LRU(threads, u64, struct qt_thread, 16384)
QT_LRU(records, struct qt_record_key, u64, 16384)
QT_PERCPU(blank_thread, struct qt_thread, 1)
QT_PERCPU(blank_ssl, struct qt_ssl_entry, 1)
QT_PERCPU(sock_scratch, struct qt_sock_scratch, 1)
QT_PERCPU(tls_scratch, struct qt_tls_scratch, 1)
QT_PERCPU(exec_scratch, struct qt_exec_scratch, 1)
QT_PROGS(sock_more, 1)
QT_PROGS(tls_more, 1)

#endif
