/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* TCP sockets: identity, states, first sight and end. */
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
	/* a closed socket has given its port back: what it was judged by stands */
	if (now != QT_CLOSE && type != QT_SOCK_END)
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

#endif
