/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Socket calls: payload of plain sockets, hellos and heads of records of TLS ones. */
#ifndef QT_PAYLOAD_H
#define QT_PAYLOAD_H

#define QT_MSG_PEEK 2

/* ---------------------------------------------------------------- where a call's bytes are */

#if defined(__TARGET_ARCH_arm64) || defined(__aarch64__)
#define QT_NR_READ 63
#define QT_NR_WRITE 64
#define QT_NR_READV 65
#define QT_NR_WRITEV 66
#define QT_NR_SENDTO 206
#define QT_NR_RECVFROM 207
#define QT_NR_SENDMSG 211
#define QT_NR_RECVMSG 212
#else
#define QT_NR_READ 0
#define QT_NR_WRITE 1
#define QT_NR_READV 19
#define QT_NR_WRITEV 20
#define QT_NR_SENDTO 44
#define QT_NR_RECVFROM 45
#define QT_NR_SENDMSG 46
#define QT_NR_RECVMSG 47
#endif

struct qt_call {
	u64 fd;   /* first argument */
	u64 arg1; /* second argument: buffer, vector or message */
	u64 arg2;
	u64 arg3;
	u64 sp;
	u32 nr;
};

/* The registers that the program entered the kernel with. */
static inline void read_call(struct qt_call *c, u64 regs)
{
#if defined(__TARGET_ARCH_arm64) || defined(__aarch64__)
	QT_KREAD(c->fd, regs, pt_regs, orig_x0);
	bpf_probe_read_kernel(&c->arg1, 8, (void *)(QT_ADDR(regs, pt_regs, regs) + 8));
	bpf_probe_read_kernel(&c->arg2, 8, (void *)(QT_ADDR(regs, pt_regs, regs) + 16));
	bpf_probe_read_kernel(&c->arg3, 8, (void *)(QT_ADDR(regs, pt_regs, regs) + 24));
	QT_KREAD(c->nr, regs, pt_regs, syscallno);
	QT_KREAD(c->sp, regs, pt_regs, sp);
#else
	u64 nr = 0;

	QT_KREAD(c->fd, regs, pt_regs, di);
	QT_KREAD(c->arg1, regs, pt_regs, si);
	QT_KREAD(c->arg2, regs, pt_regs, dx);
	QT_KREAD(c->arg3, regs, pt_regs, r10);
	QT_KREAD(nr, regs, pt_regs, orig_ax);
	QT_KREAD(c->sp, regs, pt_regs, sp);
	c->nr = nr;
#endif
}

/* Points the cursor at the user's buffers; 0 where there are none to read. */
static inline int find_buffers(struct qt_cursor *at, struct qt_call *c)
{
	u64 message[2]; /* msg_iov, msg_iovlen of struct msghdr, at byte 16 */

	at->vectors = 0;
	at->base_left = 0;
	switch (c->nr) {
	case QT_NR_READ:
	case QT_NR_WRITE:
	case QT_NR_SENDTO:
	case QT_NR_RECVFROM:
		at->base = c->arg1;
		at->base_left = c->arg2;
		return 1;
	case QT_NR_READV:
	case QT_NR_WRITEV:
		at->vector = c->arg1;
		at->vectors = c->arg2;
		return 1;
	case QT_NR_SENDMSG:
	case QT_NR_RECVMSG:
		if (bpf_probe_read_user(message, sizeof(message), (void *)(c->arg1 + 16)))
			return 0;
		at->vector = message[0];
		at->vectors = message[1];
		return 1;
	}
	return 0;
}

/* ---------------------------------------------------------------- payload */

static inline void piece_out(void *ctx, struct qt_sock_scratch *s, u64 captured, u64 stands_for,
			     u8 missing)
{
	QT_OPAQUE(captured);
	if (captured > QT_PIECE)
		captured = QT_PIECE;
	s->sample.offset = s->at.offset + s->at.done;
	s->sample.call_offset = s->at.done;
	s->sample.captured_len = captured;
	s->sample.piece_len = stands_for;
	s->sample.missing = missing;
	s->sample.head.length = sizeof(s->sample) + captured;
	count(s->sample.head.kind, stands_for,
	      payload_out(ctx, &s->sample, sizeof(s->sample) + captured));
}

/* 1 while there is more of the call. */
static inline int piece_of_call(void *ctx, struct qt_sock_scratch *s)
{
	u64 n = cursor_range(&s->at);
	long failed;

	if (n == 0) {
		if (s->at.left)
			piece_out(ctx, s, 0, s->at.left, QT_MISSING_FAULT);
		s->at.left = 0;
		return 0;
	}
	QT_OPAQUE(n);
	if (n > QT_PIECE)
		return 0;
	failed = bpf_probe_read_user(s->data, n, (void *)s->at.base);
	piece_out(ctx, s, failed ? 0 : n, n, failed ? QT_MISSING_FAULT : 0);
	cursor_step(&s->at, n);
	return s->at.left != 0;
}

static inline void rest_of_call(void *ctx, struct qt_sock_scratch *s)
{
	for (u32 i = 0; i < QT_PIECES; i++) {
		if (!piece_of_call(ctx, s)) {
			release(&s->busy);
			return;
		}
	}
	sock_more_jump(ctx, 0);
	/* the kernel's limit of tail calls: the rest is an exact missing range */
	piece_out(ctx, s, 0, s->at.left, QT_MISSING_LIMIT);
	release(&s->busy);
}

QT_SEC("raw_tp")
int on_sock_more(qt_tp *ctx)
{
	u32 zero = 0;
	struct qt_sock_scratch *s = sock_scratch_get(&zero);

	if (s)
		rest_of_call(ctx, s);
	return 0;
}

static inline void head_of_call(void *ctx, struct qt_sock_scratch *s)
{
	u64 n = cursor_range(&s->at);

	if (n > QT_HEAD_BYTES)
		n = QT_HEAD_BYTES;
	QT_OPAQUE(n);
	if (n > QT_HEAD_BYTES || bpf_probe_read_user(s->data, n, (void *)s->at.base))
		n = 0;
	piece_out(ctx, s, n, s->at.left, s->at.left == n ? 0 : QT_MISSING_HEAD);
}

/* Reads the first bytes of a call without moving the cursor. */
static inline u64 peek(struct qt_cursor *at, u8 *head)
{
	u64 n = cursor_range(at);

	if (n > QT_RECORD_HEAD)
		n = QT_RECORD_HEAD;
	if (!bounded(&n, QT_RECORD_HEAD) || bpf_probe_read_user(head, n, (void *)at->base))
		return 0;
	return n;
}

static inline void introduce(void *ctx, u64 sk, struct qt_sock_entry *e)
{
	u8 state = 0;

	e->introduced = 1;
	e->scoped = 1;
	if (!e->owner_pid)
		own(e);
	QT_KREAD(state, sk, sock_common, skc_state);
	state_sample(ctx, sk, e, QT_SOCK_SEEN, (u32)state << 8 | state);
}

/* The hellos are kept whole, then only what a join needs, then nothing once joined. */
static inline int wanted_bytes(struct qt_sock_entry *e, u32 dir, u64 offset, u8 first)
{
	if (!e->tls[dir])
		return QT_MODE_WHOLE;
	if (first == 23 || offset >= QT_HELLO_BYTES)
		e->heads[dir] = 1;
	if (!e->heads[dir])
		return QT_MODE_WHOLE;
	return e->ssl ? -1 : QT_MODE_HEAD;
}

static inline void fill_sock_sample(struct qt_sock_scratch *s, u64 sk, struct qt_sock_entry *e,
				    u32 dir, int mode)
{
	fill_head(&s->sample.head, QT_SOCK_DATA,
		  mode == QT_MODE_HEAD ? QT_KIND_SOCKET_HEADS : QT_KIND_SOCKET, 0);
	if (e->older)
		s->sample.head.flags |= QT_F_OLDER;
	s->sample.sock.sk = sk;
	s->sample.sock.birth_ns = e->birth_ns;
	s->sample.sock.inode = e->inode;
	s->sample.call_id = s->sample.head.time_ns;
	s->sample.call_len = s->at.left;
	s->sample.direction = dir;
	s->sample.mode = mode;
	s->sample.tls = e->tls[dir];
}

static inline void sock_payload(void *ctx, u64 sk, struct qt_call *call, u64 len, u32 dir)
{
	struct qt_cursor at = {};
	struct qt_sock_entry *e = entry_of(sk, 0, 1);
	struct qt_sock_scratch *s;
	u8 head[QT_RECORD_HEAD + 1] = {};
	u32 zero = 0;
	int readable;
	int mode;
	u64 n;

	if (!e)
		return;
	if (!e->introduced)
		introduce(ctx, sk, e);
	at.left = len;
	at.offset = QT_FETCH_ADD(&e->seen[dir & 1], len);
	readable = find_buffers(&at, call);
	n = readable ? peek(&at, head) : 0;
	if (at.offset == 0 && looks_like_record(head, n))
		e->tls[dir & 1] = 1;
	/* out of scope too: its SSL object must know that it is */
	maybe_join(ctx, sk, e, call->sp, head, n, dir);
	if (e->port_out)
		return;
	mode = wanted_bytes(e, dir & 1, at.offset, head[0]);
	if (mode < 0)
		return;
	s = sock_scratch_get(&zero);
	if (!s)
		return;
	if (claim(&s->busy)) {
		count_skipped(QT_KIND_SOCKET, len);
		return;
	}
	s->at = at;
	fill_sock_sample(s, sk, e, dir, mode);
	s->sample.syscall = call->nr;
	if (!readable) {
		piece_out(ctx, s, 0, len, QT_MISSING_NO_BUFFER);
	} else if (mode == QT_MODE_HEAD) {
		head_of_call(ctx, s);
	} else {
		rest_of_call(ctx, s); /* gives the scratch back itself: it may not return here */
		return;
	}
	release(&s->busy);
}

/* Records of an SSL object that is known already are only counted: its plaintext is seen. */
static inline int only_counted(u64 sk, u64 len, u32 dir)
{
	struct qt_sock_entry *e = socks_get(&sk);

	if (!e || !e->ssl || !e->heads[dir & 1] || !e->tls[dir & 1])
		return 0;
	if (e->ssl_pid != bpf_get_current_pid_tgid() >> 32) /* inherited by fork: another object */
		return 0;
	if (e->inode != inode_of(sk))
		return 0;
	__sync_fetch_and_add(&e->seen[dir & 1], len);
	return 1;
}

static inline int sock_call(qt_tp *ctx, u32 dir)
{
	u64 sk = ctx->args[0];
	s32 len = ctx->args[1];
	u32 msg_flags = ctx->args[2];
	struct qt_call call = {};

	if (len <= 0 || (dir == 0 && msg_flags & QT_MSG_PEEK))
		return 0;
	if (!in_scope(config_flags()) || only_counted(sk, len, dir) || !is_tcp(sk))
		return 0;
	read_call(&call, bpf_task_pt_regs((void *)bpf_get_current_task_btf()));
	sock_payload(ctx, sk, &call, len, dir);
	return 0;
}

QT_SEC("raw_tp/sock_recv_length")
int on_sock_recv(qt_tp *ctx)
{
	return sock_call(ctx, 0);
}

QT_SEC("raw_tp/sock_send_length")
int on_sock_send(qt_tp *ctx)
{
	return sock_call(ctx, 1);
}

#endif
