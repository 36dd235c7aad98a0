/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which socket an SSL object speaks over, found in two ways:
 *
 * nested: a socket call made inside a TLS call of the same thread;
 * record: the first bytes of a TLS record that libssl handed to BIO_write are later written
 *         to a socket by the same process (memory BIOs: asyncio, uvloop, Node.js).
 */
#ifndef QT_JOIN_H
#define QT_JOIN_H

/* RFC 8446 5.1: content types 20 to 23, version 3.x. */
static inline int looks_like_record(u8 *head, u64 n)
{
	return n >= 2 && head[0] >= 20 && head[0] <= 23 && head[1] == 3;
}

static inline struct qt_ssl_entry *ssl_of(struct qt_ssl_key *key)
{
	struct qt_ssl_entry *e = ssls_get(key);
	struct qt_ssl_entry *blank;
	u32 zero = 0;

	if (e)
		return e;
	blank = blank_ssl_get(&zero); /* too large for the stack of those that join */
	if (!blank)
		return 0;
	blank->birth_ns = bpf_ktime_get_boot_ns();
	ssls_set(key, blank);
	return ssls_get(key);
}

static inline void join(void *ctx, u64 sk, struct qt_sock_entry *e, u64 ssl, u32 how)
{
	struct qt_tls_join s = {};
	struct qt_ssl_key key = {};
	struct qt_ssl_entry *o;

	key.ssl = ssl;
	key.pid = bpf_get_current_pid_tgid() >> 32;
	o = ssl_of(&key);
	if (!o)
		return;
	e->tls[0] = 1;
	e->tls[1] = 1;
	if (o->sock.sk == sk && o->sock.birth_ns == e->birth_ns)
		return;
	if (o->sock.sk) { /* another connection: what was begun on the last one was given up */
		o->ahead = 0;
		o->pending = 0;
	}
	o->sock.sk = sk;
	o->sock.birth_ns = e->birth_ns;
	o->sock.inode = e->inode;
	o->port_out = e->port_out;
	e->ssl = ssl;
	e->ssl_pid = key.pid;
	if (o->port_out)
		return;
	fill_head(&s.head, QT_TLS_JOIN, QT_KIND_CONTROL, sizeof(s));
	s.ssl = ssl;
	s.ssl_birth_ns = o->birth_ns;
	s.sock = o->sock;
	read_tuple(&s.tuple, sk);
	s.how = how;
	count(QT_KIND_CONTROL, 0, control_out(ctx, &s, sizeof(s)));
}

static inline void maybe_join(void *ctx, u64 sk, struct qt_sock_entry *e, u64 sp, u8 *head, u64 n,
			      u32 dir)
{
	struct qt_record_key key = {};
	int record = looks_like_record(head, n);
	u64 ssl = enclosing_ssl(sp);
	u64 *found;

	if (ssl && (record || e->tls[dir & 1])) {
		if (e->ssl != ssl || e->ssl_pid != bpf_get_current_pid_tgid() >> 32)
			join(ctx, sk, e, ssl, QT_JOIN_NESTED);
		return;
	}
	if (e->ssl || dir != 1 || !record || n < QT_RECORD_HEAD)
		return;
	key.pid = bpf_get_current_pid_tgid() >> 32;
	__builtin_memcpy(key.head, head, QT_RECORD_HEAD);
	found = records_get(&key);
	if (found)
		join(ctx, sk, e, *found, QT_JOIN_RECORD);
}

#endif
