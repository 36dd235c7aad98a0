/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The OpenSSL family: plaintext at SSL_read, SSL_write and their _ex forms.
 *
 * Rule 1: bytes are read at return: what a write was given is certainly mapped then, and
 *         what came of the call is known.
 *         A large write is copied at its records' pace instead, or it would be more than a ring
 *         holds: each BIO_write inside it copies the next piece.
 * Rule 2: SSL_peek is not hooked: what it shows is read again.
 */
#ifndef QT_OPENSSL_H
#define QT_OPENSSL_H

/* How many bytes the call moved. */
static inline u64 moved_by(struct pt_regs *ctx, struct qt_frame *f)
{
	s32 result = PT_REGS_RC(ctx);
	u64 n = 0;

	if (result <= 0)
		return 0;
	if (f->function < QT_FN_READ_EX)
		return result;
	if (bpf_probe_read_user(&n, sizeof(n), (void *)f->done))
		return 0;
	return n;
}

static inline void tls_piece_out(void *ctx, struct qt_tls_scratch *s, u64 captured, u64 stands_for,
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
	count(QT_KIND_TLS, stands_for, payload_out(ctx, &s->sample, sizeof(s->sample) + captured));
}

static inline int tls_piece(void *ctx, struct qt_tls_scratch *s)
{
	u64 n = s->at.left > QT_PIECE ? QT_PIECE : s->at.left;
	long failed;

	if (!bounded(&n, QT_PIECE))
		return 0;
	failed = bpf_probe_read_user(s->data, n, (void *)s->at.base);
	tls_piece_out(ctx, s, failed ? 0 : n, n, failed ? QT_MISSING_FAULT : 0);
	s->at.base += n;
	s->at.left -= n;
	s->at.done += n;
	return s->at.left != 0;
}

static inline void rest_of_tls_call(void *ctx, struct qt_tls_scratch *s)
{
	for (u32 i = 0; i < QT_PIECES; i++) {
		if (!tls_piece(ctx, s)) {
			release(&s->busy);
			return;
		}
	}
	tls_more_jump(ctx, 0);
	/* the kernel's limit of tail calls: the rest is an exact missing range */
	tls_piece_out(ctx, s, 0, s->at.left, QT_MISSING_LIMIT);
	release(&s->busy);
}

QT_SEC("uprobe")
int on_tls_more(struct pt_regs *ctx)
{
	u32 zero = 0;
	struct qt_tls_scratch *s = tls_scratch_get(&zero);

	if (s)
		rest_of_tls_call(ctx, s);
	return 0;
}

static inline void fill_tls_sample(struct qt_tls_scratch *s, struct qt_frame *f,
				   struct qt_ssl_entry *o, u64 call_len)
{
	fill_head(&s->sample.head, QT_TLS_DATA, QT_KIND_TLS, 0);
	s->sample.ssl = f->ssl;
	s->sample.ssl_birth_ns = o->birth_ns;
	s->sample.sock = o->sock;
	s->sample.call_id = f->begin_ns;
	s->sample.call_len = call_len;
	s->sample.direction = f->function & 1;
	s->sample.function = f->function;
	s->sample.library = f->library;
	s->sample.call_begin_ns = f->begin_ns;
}

/* What of n bytes that a call moved was copied before; the rest of it belongs to a retry. */
static inline u64 taken_ahead(struct qt_ssl_entry *o, u32 dir, u64 n)
{
	u64 ahead = dir ? o->ahead : 0;
	u64 taken = ahead < n ? ahead : n;

	if (ahead) {
		o->ahead = ahead - taken;
		o->pending = o->ahead != 0;
	}
	return taken;
}

static inline void tls_payload(struct pt_regs *ctx, struct qt_frame *f, u64 n)
{
	u32 dir = f->function & 1;
	struct qt_ssl_key key = {};
	struct qt_tls_scratch *s;
	struct qt_ssl_entry *o;
	u32 zero = 0;
	u64 offset;
	u64 taken;

	key.ssl = f->ssl;
	key.pid = bpf_get_current_pid_tgid() >> 32;
	o = ssl_of(&key);
	if (!o)
		return;
	offset = QT_FETCH_ADD(&o->moved[dir], n);
	taken = taken_ahead(o, dir, n);
	if (o->port_out || taken == n)
		return;
	s = tls_scratch_get(&zero);
	if (!s)
		return;
	if (claim(&s->busy)) {
		count_skipped(QT_KIND_TLS, n - taken);
		return;
	}
	fill_tls_sample(s, f, o, n);
	s->at.base = f->buf + taken;
	s->at.left = n - taken;
	s->at.done = taken;
	s->at.offset = offset;
	rest_of_tls_call(ctx, s);
}

/* A large write that could not go on comes again, and begins with the record that waits. */
static inline void tried_in_vain(struct qt_frame *f)
{
	struct qt_ssl_key key = {};
	struct qt_ssl_entry *o;

	key.ssl = f->ssl;
	key.pid = bpf_get_current_pid_tgid() >> 32;
	o = ssls_get(&key);
	if (o && o->ahead)
		o->pending = 1;
}

QT_SEC("uprobe")
int on_ssl_read(struct pt_regs *ctx)
{
	return enter(ctx, QT_FN_READ, PT_REGS_PARM4(ctx));
}

QT_SEC("uprobe")
int on_ssl_write(struct pt_regs *ctx)
{
	return enter(ctx, QT_FN_WRITE, PT_REGS_PARM4(ctx));
}

QT_SEC("uprobe")
int on_ssl_read_ex(struct pt_regs *ctx)
{
	return enter(ctx, QT_FN_READ_EX, PT_REGS_PARM4(ctx));
}

QT_SEC("uprobe")
int on_ssl_write_ex(struct pt_regs *ctx)
{
	return enter(ctx, QT_FN_WRITE_EX, PT_REGS_PARM4(ctx));
}

/* The internal functions have the arguments of the _ex forms. */
QT_SEC("uprobe")
int on_ssl_read_inner(struct pt_regs *ctx)
{
	return enter(ctx, QT_FN_READ_INNER, PT_REGS_PARM4(ctx));
}

QT_SEC("uprobe")
int on_ssl_write_inner(struct pt_regs *ctx)
{
	return enter(ctx, QT_FN_WRITE_INNER, PT_REGS_PARM4(ctx));
}

/* From OpenSSL 3.3 on there are flags before the pointer to the count. */
QT_SEC("uprobe")
int on_ssl_write_flags(struct pt_regs *ctx)
{
	return enter(ctx, QT_FN_WRITE_INNER, PT_REGS_PARM5(ctx));
}

/* SSL_do_handshake, SSL_connect, SSL_accept: no bytes, but sockets are used inside. */
QT_SEC("uprobe")
int on_ssl_handshake(struct pt_regs *ctx)
{
	return enter(ctx, QT_FN_HANDSHAKE, PT_REGS_PARM4(ctx));
}

QT_SEC("uprobe")
int on_ssl_return(struct pt_regs *ctx)
{
	struct qt_frame f = {};
	u64 n;

	if (!leave(ctx, &f) || f.inner || f.function == QT_FN_HANDSHAKE)
		return 0;
	n = moved_by(ctx, &f);
	if (n)
		tls_payload(ctx, &f, n);
	else if (f.function & 1 && f.len > QT_PACED)
		tried_in_vain(&f);
	return 0;
}

static inline void forget_socket(struct qt_ssl_key *key, struct qt_ssl_entry *o)
{
	u64 sk = o->sock.sk;
	struct qt_sock_entry *e = socks_get(&sk);

	if (e && e->ssl == key->ssl && e->ssl_pid == key->pid)
		e->ssl = 0;
}

/* The address may serve the next connection: nothing of this one may remain. */
QT_SEC("uprobe")
int on_ssl_free(struct pt_regs *ctx)
{
	struct qt_tls_free s = {};
	struct qt_ssl_key key = {};
	struct qt_ssl_entry *o;

	key.ssl = PT_REGS_PARM1(ctx);
	key.pid = bpf_get_current_pid_tgid() >> 32;
	o = ssls_get(&key);
	if (!o)
		return 0;
	if (!o->port_out) {
		fill_head(&s.head, QT_TLS_FREE, QT_KIND_CONTROL, sizeof(s));
		s.ssl = key.ssl;
		s.ssl_birth_ns = o->birth_ns;
		s.sock = o->sock;
		s.total_read = o->moved[0];
		s.total_written = o->moved[1];
		count(QT_KIND_CONTROL, 0, control_out(ctx, &s, sizeof(s)));
	}
	forget_socket(&key, o);
	ssls_del(&key);
	return 0;
}

/* A record of application data goes out inside a large write: its next piece is due. */
static inline void pace(struct pt_regs *ctx, struct qt_frame *f, struct qt_ssl_entry *o)
{
	struct qt_tls_scratch *s;
	u64 ahead = o->ahead;
	u32 zero = 0;
	u8 head[2] = {};

	if (!(f->function & 1) || f->inner || f->len <= QT_PACED || ahead + QT_PIECE > f->len)
		return;
	if (o->pending) {
		o->pending = 0;
		return;
	}
	if (bpf_probe_read_user(head, sizeof(head), (void *)PT_REGS_PARM2(ctx)))
		return;
	if (head[0] != 23 || head[1] != 3) /* a handshake, or the rest of a record */
		return;
	s = tls_scratch_get(&zero);
	if (!s || claim(&s->busy))
		return; /* its turn comes with the next record, or at the return */
	/* not there yet, as a mapped file may be: it is at the return */
	if (!bpf_probe_read_user(s->data, QT_PIECE, (void *)(f->buf + ahead))) {
		fill_tls_sample(s, f, o, f->len);
		s->at.done = ahead;
		s->at.offset = o->moved[1];
		tls_piece_out(ctx, s, QT_PIECE, QT_PIECE, 0);
		o->ahead = ahead + QT_PIECE;
	}
	release(&s->busy);
}

/* BIO_write: remembers the head of each record that an unjoined SSL object gives out. */
QT_SEC("uprobe")
int on_bio_write(struct pt_regs *ctx)
{
	struct qt_record_key record = {};
	struct qt_ssl_key key = {};
	struct qt_ssl_entry *o;
	u64 id = bpf_get_current_pid_tgid();
	struct qt_thread *t = threads_get(&id);
	struct qt_frame *f;
	s32 len = PT_REGS_PARM3(ctx);
	u64 ssl;
	u64 at;

	if (!t || len < QT_RECORD_HEAD)
		return 0;
	at = enclosing_call(t, PT_REGS_SP(ctx));
	QT_OPAQUE(at); /* the verifier sees a bound, not what came before it */
	if (at >= QT_FRAMES)
		return 0;
	f = &t->frames[at];
	ssl = f->ssl;
	key.ssl = ssl;
	key.pid = bpf_get_current_pid_tgid() >> 32;
	o = ssl_of(&key);
	if (!o)
		return 0;
	if (f->len > QT_PACED && f->function != QT_FN_HANDSHAKE && !o->port_out)
		pace(ctx, f, o);
	if (o->sock.sk)
		return 0;
	if (bpf_probe_read_user(record.head, QT_RECORD_HEAD, (void *)PT_REGS_PARM2(ctx)))
		return 0;
	if (!looks_like_record(record.head, QT_RECORD_HEAD))
		return 0;
	record.pid = key.pid;
	records_set(&record, &ssl);
	return 0;
}

#endif
