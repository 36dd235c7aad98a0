/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * TLS calls in progress, a short stack of them for each thread: what entry and return of one
 * call have to tell each other, and which call a socket call or a BIO_write is inside of.
 *
 * Rule: a frame belongs to its stack pointer. The stack grows down: whoever is called has a
 *       lower one, and a frame that is not above the present one was left by longjmp.
 */
#ifndef QT_FRAMES_H
#define QT_FRAMES_H

/* qt_tls_data.function; the session's header names them in this order */
#define QT_FN_READ 0
#define QT_FN_WRITE 1
#define QT_FN_READ_EX 2
#define QT_FN_WRITE_EX 3
#define QT_FN_HANDSHAKE 4
#define QT_FN_READ_INNER 6 /* what SSL_read and SSL_read_ex both call; low bit: direction */
#define QT_FN_WRITE_INNER 7

static inline struct qt_thread *thread_of(u64 *id)
{
	struct qt_thread *t = threads_get(id);
	u32 zero = 0;

	if (t)
		return t;
	t = blank_thread_get(&zero);
	if (!t)
		return 0;
	threads_set(id, t);
	return threads_get(id);
}

/* Is the object already in a data call of this thread? Then the inner one is not counted. */
static inline u32 already_in(struct qt_thread *t, u64 ssl, u32 function)
{
	u32 inner = 0;

	for (u32 i = 0; i < QT_FRAMES; i++)
		if (i < t->depth && t->frames[i].ssl == ssl &&
		    t->frames[i].function != QT_FN_HANDSHAKE &&
		    (t->frames[i].function & 1) == (function & 1))
			inner = 1;
	return inner;
}

static inline int enter(struct pt_regs *ctx, u32 function, u64 done)
{
	u64 id = bpf_get_current_pid_tgid();
	u64 sp = PT_REGS_SP(ctx);
	struct qt_thread *t;
	struct qt_frame *f;
	u64 at;

	if (!in_scope(config_flags()))
		return 0;
	t = thread_of(&id);
	if (!t)
		return 0;
	for (u32 i = 0; i < QT_FRAMES; i++) { /* frames that longjmp left behind */
		at = t->depth - 1;
		QT_OPAQUE(at);
		if (at < QT_FRAMES && t->frames[at].sp <= sp)
			t->depth = at;
	}
	at = t->depth;
	QT_OPAQUE(at);
	if (at >= QT_FRAMES)
		return 0;
	f = &t->frames[at];
	f->sp = sp;
	f->ssl = PT_REGS_PARM1(ctx);
	f->buf = PT_REGS_PARM2(ctx);
	f->len = PT_REGS_PARM3(ctx);
	if (function == QT_FN_READ || function == QT_FN_WRITE)
		f->len = (u32)f->len; /* an int: the register's other half is anything */
	f->done = done;
	f->begin_ns = bpf_ktime_get_boot_ns();
	f->function = function;
	f->library = QT_HAS(QT_COOKIE) ? bpf_get_attach_cookie(ctx) : 0;
	f->inner = function == QT_FN_HANDSHAKE ? 0 : already_in(t, f->ssl, function);
	t->depth = at + 1;
	return 0;
}

/* Takes the frame of the call that returns now; 0 if there is none. */
static inline int leave(struct pt_regs *ctx, struct qt_frame *out)
{
	u64 id = bpf_get_current_pid_tgid();
	u64 sp = QT_RETURN_SP(PT_REGS_SP(ctx));
	struct qt_thread *t = threads_get(&id);
	int found = 0;

	if (!t)
		return 0;
	for (u32 i = 0; i < QT_FRAMES; i++) {
		if (!found && i < t->depth && t->frames[i].sp == sp) {
			*out = t->frames[i];
			t->depth = i;
			found = 1;
		}
	}
	return found; /* the entry stays: taking it out and in again costs more than the call */
}

/* The TLS call that this thread is inside of: its place among the frames, QT_FRAMES if none. */
static inline u64 enclosing_call(struct qt_thread *t, u64 sp)
{
	u64 top = t->depth - 1;

	QT_OPAQUE(top);
	if (top >= QT_FRAMES || t->frames[top].sp <= sp)
		return QT_FRAMES;
	return top;
}

static inline u64 enclosing_ssl(u64 sp)
{
	u64 id = bpf_get_current_pid_tgid();
	struct qt_thread *t = threads_get(&id);
	u64 at = t ? enclosing_call(t, sp) : QT_FRAMES;

	QT_OPAQUE(at);
	return t && at < QT_FRAMES ? t->frames[at].ssl : 0;
}

#endif
