/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* TCP sockets: states, first sight, payload of plain ones, hellos and heads of TLS ones. */
#ifndef QT_SOCKET_H
#define QT_SOCKET_H

#define QT_TCP 6
#define QT_INET 2
#define QT_INET6 10
#define QT_ESTABLISHED 1
#define QT_SYN_SENT 2
#define QT_SYN_RECV 3
#define QT_FIN_WAIT1 4
#define QT_CLOSE 7
#define QT_CLOSE_WAIT 8
#define QT_LAST_ACK 9
#define QT_LISTEN 10
#define QT_MSG_PEEK 2

static inline int is_tcp(u64 sk)
{
	u16 family = 0;
	u16 protocol = 0;

	QT_KREAD(family, sk, sock_common, skc_family);
	QT_KREAD(protocol, sk, sock, sk_protocol);
	return protocol == QT_TCP && (family == QT_INET || family == QT_INET6);
}

static inline void read_tuple(struct qt_tuple *t, u64 sk)
{
	u64 net = 0;
	u16 port = 0;

	QT_KREAD(t->family, sk, sock_common, skc_family);
	t->protocol = QT_TCP;
	QT_KREAD(t->local_port, sk, sock_common, skc_num);
	QT_KREAD(port, sk, sock_common, skc_dport);
	t->peer_port = __builtin_bswap16(port);
	QT_KREAD(net, sk, sock_common, skc_net);
	bpf_probe_read_kernel(&t->netns, sizeof(t->netns),
			      (void *)(QT_ADDR(net, net, ns) + QT_ADDR(0, ns_common, inum)));
	t->reserved = 0;
	if (t->family == QT_INET6) {
		QT_KREAD(t->local, sk, sock_common, skc_v6_rcv_saddr);
		QT_KREAD(t->peer, sk, sock_common, skc_v6_daddr);
		return;
	}
	bpf_probe_read_kernel(t->local, 4, (void *)QT_ADDR(sk, sock_common, skc_rcv_saddr));
	bpf_probe_read_kernel(t->peer, 4, (void *)QT_ADDR(sk, sock_common, skc_daddr));
}

/* The inode that /proc and ss show; 0 before accept and after the last close. */
static inline u64 inode_of(u64 sk)
{
	u64 socket = 0;
	u64 inode = 0;

	QT_KREAD(socket, sk, sock, sk_socket);
	if (socket) /* struct socket opens struct socket_alloc */
		bpf_probe_read_kernel(&inode, sizeof(inode),
				      (void *)(QT_ADDR(socket, socket_alloc, vfs_inode) +
					       QT_ADDR(0, inode, i_ino)));
	return inode;
}

static inline int port_wanted(struct qt_tuple *t)
{
	u32 local = t->local_port;
	u32 peer = t->peer_port;

	return ports_get(&local) || ports_get(&peer);
}

static inline void state_sample(void *ctx, u64 sk, struct qt_sock_entry *e, u16 type, u32 states)
{
	struct qt_sock_state s = {};
	u64 retrans = 0;
	u32 now = states & 0xff;

	fill_head(&s.head, type, QT_KIND_CONTROL, sizeof(s));
	/* elsewhere the transition is a packet's doing, and the running task a bystander */
	if (type == QT_SOCK_END || (type == QT_SOCK_STATE && now != QT_SYN_SENT &&
				    now != QT_LISTEN && now != QT_FIN_WAIT1 && now != QT_LAST_ACK))
		hide_task(&s.head);
	if (e->older)
		s.head.flags |= QT_F_OLDER;
	s.sock.sk = sk;
	s.sock.birth_ns = e->birth_ns;
	s.sock.inode = e->inode;
	read_tuple(&s.tuple, sk);
	s.old_state = states >> 8;
	s.new_state = now;
	QT_KREAD(s.error, sk, sock, sk_err);
	QT_KREAD(s.bytes_received, sk, tcp_sock, bytes_received);
	QT_KREAD(s.bytes_sent, sk, tcp_sock, bytes_sent);
	QT_KREAD(retrans, sk, tcp_sock, bytes_retrans);
	s.bytes_sent -= retrans;
	QT_KREAD(s.cookie, sk, sock_common, skc_cookie);
	s.owner_ticks = e->owner_ticks;
	s.owner_pid = e->owner_pid;
	s.seen_received = e->seen[0];
	s.seen_sent = e->seen[1];
	e->port_out = config_flags() & QT_SCOPE_PORTS && !port_wanted(&s.tuple);
	if (!e->port_out)
		count(QT_KIND_CONTROL, 0, control_out(ctx, &s, sizeof(s)));
}

static inline void own(struct qt_sock_entry *e)
{
	e->owner_pid = bpf_get_current_pid_tgid() >> 32;
	e->owner_ticks = ticks_of(bpf_get_current_task());
}

/* A socket's entry, made anew where its life begins or another inode shows another socket. */
static inline struct qt_sock_entry *entry_of(u64 sk, int fresh, u8 older)
{
	struct qt_sock_entry *e = socks_get(&sk);
	struct qt_sock_entry blank = {};
	u64 inode = inode_of(sk);

	if (e && !fresh && (!e->inode || !inode || e->inode == inode)) {
		if (inode)
			e->inode = inode;
		return e;
	}
	blank.birth_ns = bpf_ktime_get_boot_ns();
	blank.inode = inode;
	blank.older = older;
	socks_set(&sk, &blank);
	return socks_get(&sk);
}

QT_SEC("raw_tp/inet_sock_set_state")
int on_sock_state(qt_tp *ctx)
{
	u64 sk = ctx->args[0];
	u32 before = ctx->args[1];
	u32 now = ctx->args[2];
	u32 flags = config_flags();
	int connecting = now == QT_SYN_SENT || now == QT_LISTEN;
	int fresh = connecting || (before == QT_SYN_RECV && now == QT_ESTABLISHED);
	struct qt_sock_entry *e;

	if (now != QT_ESTABLISHED && now != QT_CLOSE && now != QT_FIN_WAIT1 &&
	    now != QT_CLOSE_WAIT && now != QT_LAST_ACK && !connecting)
		return 0;
	if (!is_tcp(sk))
		return 0;
	if (!fresh && !(flags & QT_SCOPE_ALL) && !socks_get(&sk))
		return 0;
	e = entry_of(sk, fresh, !fresh);
	if (!e)
		return 0;
	if (connecting && in_scope(flags)) {
		e->scoped = 1;
		own(e);
	} else if (!connecting && flags & QT_SCOPE_ALL && !e->owner_pid) {
		e->scoped = 1;
	}
	if (e->scoped)
		state_sample(ctx, sk, e, QT_SOCK_STATE, (before & 0xff) << 8 | (now & 0xff));
	return 0;
}

QT_SEC("raw_tp/tcp_destroy_sock")
int on_sock_destroy(qt_tp *ctx)
{
	u64 sk = ctx->args[0];
	struct qt_sock_entry *e = socks_get(&sk);
	u8 state = 0;

	if (!e)
		return 0;
	QT_KREAD(state, sk, sock_common, skc_state);
	if (e->scoped)
		state_sample(ctx, sk, e, QT_SOCK_END, (u32)state << 8 | state);
	socks_del(&sk);
	return 0;
}

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
	u64 arg1; /* second argument: buffer, vector or message */
	u64 arg2;
	u64 sp;
	u32 nr;
};

/* The registers that the program entered the kernel with. */
static inline void read_call(struct qt_call *c)
{
	u64 regs = bpf_task_pt_regs((void *)bpf_get_current_task_btf());

#if defined(__TARGET_ARCH_arm64) || defined(__aarch64__)
	bpf_probe_read_kernel(&c->arg1, 8, (void *)(QT_ADDR(regs, pt_regs, regs) + 8));
	bpf_probe_read_kernel(&c->arg2, 8, (void *)(QT_ADDR(regs, pt_regs, regs) + 16));
	QT_KREAD(c->nr, regs, pt_regs, syscallno);
	QT_KREAD(c->sp, regs, pt_regs, sp);
#else
	u64 nr = 0;

	QT_KREAD(c->arg1, regs, pt_regs, si);
	QT_KREAD(c->arg2, regs, pt_regs, dx);
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
	QT_OPAQUE(n);
	if (n == 0 || n > QT_RECORD_HEAD || bpf_probe_read_user(head, n, (void *)at->base))
		return 0;
	return n;
}

/* RFC 8446 5.1: content types 20 to 23, version 3.x. */
static inline int looks_like_record(u8 *head, u64 n)
{
	return n >= 2 && head[0] >= 20 && head[0] <= 23 && head[1] == 3;
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

static inline void sock_payload(void *ctx, u64 sk, u64 len, u32 dir)
{
	struct qt_cursor at = {};
	struct qt_call call = {};
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
	at.offset = __sync_fetch_and_add(&e->seen[dir & 1], len);
	if (e->port_out)
		return;
	read_call(&call);
	readable = find_buffers(&at, &call);
	n = readable ? peek(&at, head) : 0;
	if (at.offset == 0 && looks_like_record(head, n))
		e->tls[dir & 1] = 1;
	maybe_join(ctx, sk, e, call.sp, head, n, dir);
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
	s->sample.syscall = call.nr;
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

static inline int sock_call(qt_tp *ctx, u32 dir)
{
	u64 sk = ctx->args[0];
	s32 len = ctx->args[1];
	u32 msg_flags = ctx->args[2];

	if (len <= 0 || (dir == 0 && msg_flags & QT_MSG_PEEK))
		return 0;
	if (!in_scope(config_flags()) || !is_tcp(sk))
		return 0;
	sock_payload(ctx, sk, len, dir);
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
