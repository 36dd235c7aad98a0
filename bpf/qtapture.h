/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Every struct that crosses from the kernel to user space, and nothing else.
 *
 * Rule 1: formats/samples.md is the prose of this file; a test compiles this file and
 *         compares every offset with qtapture/reassembly/samples.py.
 * Rule 2: fields are naturally aligned and explicit: no compiler padding, little-endian.
 * Rule 3: append only. A reader takes `length` and skips what it does not know.
 */
#ifndef QTAPTURE_H
#define QTAPTURE_H

/* Rings: index of the perf event array that a sample came through. */
enum qt_ring {
	QT_RING_CONTROL = 0, /* processes, sockets, joins */
	QT_RING_PAYLOAD = 1, /* bytes */
	QT_RING_SECRETS = 2, /* reserved: TLS secrets */
};

/* What a sample is counted under: index into the loss counters. */
enum qt_kind {
	QT_KIND_CONTROL = 0,
	QT_KIND_TLS = 1,          /* TLS plaintext */
	QT_KIND_SOCKET = 2,       /* payload of plain sockets and TLS hellos */
	QT_KIND_SOCKET_HEADS = 3, /* first bytes of calls on TLS sockets */
	QT_KIND_SECRETS = 4,      /* reserved */
	QT_KIND_PACKETS = 5,      /* reserved */
	QT_KINDS = 6,
};

enum qt_type {
	QT_EXEC = 1,
	QT_EXEC_ARGS = 2,
	QT_FORK = 3,
	QT_EXIT = 4,
	QT_SOCK_STATE = 10, /* a TCP state change */
	QT_SOCK_SEEN = 11,  /* the first payload call of a process on a socket */
	QT_SOCK_END = 12,   /* the socket's memory is given back */
	QT_SOCK_DATA = 20,
	QT_TLS_DATA = 30,
	QT_TLS_JOIN = 31, /* an SSL object was found to speak over a socket */
	QT_TLS_FREE = 32,
};

/* qt_head.flags */
#define QT_F_NO_TASK 1 /* the running task is not the one that this is about */
#define QT_F_OLDER 2   /* the socket or SSL object was first met in mid-life */

struct qt_head {
	__u16 type;
	__u8 kind;
	__u8 flags;
	__u32 length;  /* of the sample, from its first byte, without the ring's padding */
	__u64 time_ns; /* CLOCK_BOOTTIME */
	__u32 pid;     /* thread group id in the initial pid namespace */
	__u32 tid;
	__u64 start_ticks; /* start of the thread group leader, boot time in 10 ms ticks */
	char comm[16];     /* of the running thread, NUL-padded */
};

/* A socket is its address and birth; the inode is 0 before accept and after orphaning. */
struct qt_sockid {
	__u64 sk;
	__u64 birth_ns;
	__u64 inode;
};

struct qt_tuple {
	__u16 family;     /* AF_INET 2, AF_INET6 10 */
	__u16 protocol;   /* IPPROTO_TCP 6 */
	__u16 local_port; /* host order */
	__u16 peer_port;
	__u32 netns; /* inode of the network namespace */
	__u32 reserved;
	__u8 local[16]; /* IPv4 in the first four bytes */
	__u8 peer[16];
};

/* QT_EXEC is followed by file_len bytes: the path as it was given to execve. */
struct qt_exec {
	struct qt_head head;
	__u32 ppid;
	__u32 ns_pid; /* in the innermost pid namespace */
	__u32 uid;
	__u32 gid;
	__u64 start_ns;
	__u64 parent_start_ticks;
	__u64 cgroup_id;
	__u64 exe_inode;
	__u32 exe_dev;
	__u32 args_len; /* bytes of the whole argument area; QT_EXEC_ARGS pieces carry it */
	__u32 file_len;
	__u32 reserved;
};

/* A piece of the argument area (NUL-separated), followed by captured_len bytes.
 * Pieces that were not taken are missing from the sum: the arguments are cut there. */
struct qt_exec_args {
	struct qt_head head;
	__u64 exec_ns; /* time_ns of the QT_EXEC that this belongs to */
	__u32 offset;
	__u32 captured_len;
};

/* head.* is the parent. */
struct qt_fork {
	struct qt_head head;
	__u32 child_pid;
	__u32 child_ns_pid;
	__u64 child_start_ticks;
	__u64 child_start_ns;
	__u32 uid;
	__u32 gid;
	__u64 cgroup_id;
};

struct qt_exit {
	struct qt_head head;
	__u32 exit_code; /* as wait(2) has it: status << 8 | signal */
	__u32 reserved;
};

struct qt_sock_state { /* QT_SOCK_STATE, QT_SOCK_SEEN, QT_SOCK_END */
	struct qt_head head;
	struct qt_sockid sock;
	struct qt_tuple tuple;
	__u8 old_state; /* TCP_* of the kernel: 1 established ... 7 close */
	__u8 new_state; /* QT_SOCK_SEEN: equal to old_state, the state found */
	__u16 reserved;
	__s32 error;          /* sk_err, errno of a failed connect */
	__u64 bytes_received; /* the kernel's own counts, TCP payload */
	__u64 bytes_sent;
	__u64 cookie; /* 0 until somebody asked the kernel for one */
	__u64 owner_ticks;
	__u32 owner_pid; /* process that connected or made the first payload call, 0 unknown */
	__u32 reserved2;
	__u64 seen_received; /* bytes that payload samples have accounted for so far */
	__u64 seen_sent;
};

/* qt_sock_data.mode */
#define QT_MODE_WHOLE 0 /* the call is copied whole */
#define QT_MODE_HEAD 1  /* only the first bytes of the call, to join by */
/* qt_sock_data.missing and qt_tls_data.missing: why captured_len falls short, 0 if not */
#define QT_MISSING_NONE 0
#define QT_MISSING_HEAD 1      /* by choice: QT_MODE_HEAD */
#define QT_MISSING_NO_BUFFER 2 /* sendfile, splice, io_uring: no user buffer to read */
#define QT_MISSING_FAULT 3     /* the buffer could not be read */
#define QT_MISSING_LIMIT 4     /* more pieces or vectors than the program may copy */

/* One piece of one call, followed by captured_len bytes. */
struct qt_sock_data {
	struct qt_head head;
	struct qt_sockid sock;
	__u64 offset;  /* of this piece in its direction, counted from the birth of the socket */
	__u64 call_id; /* time of the call; the same in all pieces of one call */
	__u32 call_len;
	__u32 call_offset; /* of this piece in the call */
	__u32 captured_len;
	__u32 piece_len; /* bytes that this piece stands for; captured_len or, if missing, more */
	__u8 direction;  /* 0 received, 1 sent */
	__u8 mode;
	__u8 missing;
	__u8 tls; /* 1: this direction carries TLS records */
	__u32 syscall;
};

/* One piece of one SSL_read or SSL_write, followed by captured_len bytes. */
struct qt_tls_data {
	struct qt_head head;
	__u64 ssl;
	__u64 ssl_birth_ns;
	struct qt_sockid sock; /* all 0 until joined */
	__u64 offset;
	__u64 call_id;
	__u32 call_len;
	__u32 call_offset;
	__u32 captured_len;
	__u32 piece_len;
	__u8 direction; /* 0 read, 1 written */
	__u8 missing;
	__u16 function;      /* index of the probed function, formats/samples.md */
	__u32 library;       /* number of the library record in the session */
	__u64 call_begin_ns; /* entry of the call; head.time_ns is its return */
};

#define QT_JOIN_NESTED 1  /* a socket call inside the TLS call */
#define QT_JOIN_RECORD 2  /* the record handed to BIO_write was later written to the socket */
#define QT_RECORD_HEAD 43 /* reaches into the hello's random or the ciphertext: unique */

struct qt_tls_join {
	struct qt_head head;
	__u64 ssl;
	__u64 ssl_birth_ns;
	struct qt_sockid sock;
	struct qt_tuple tuple;
	__u32 library;
	__u8 how;
	__u8 reserved[3];
};

struct qt_tls_free {
	struct qt_head head;
	__u64 ssl;
	__u64 ssl_birth_ns;
	struct qt_sockid sock;
	__u64 total_read; /* bytes that the calls returned, captured or not */
	__u64 total_written;
};

/* Loss, per kind and CPU, in a per-CPU array. submitted = in the file + lost. */
struct qt_count {
	__u64 submitted;
	__u64 submitted_bytes; /* payload bytes that the samples stand for */
	__u64 lost;
	__u64 lost_bytes;
	__u64 skipped; /* not even submitted: no scratch buffer free */
	__u64 skipped_bytes;
};

#endif
