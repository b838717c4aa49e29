/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the gate has read of a caller (arguments and environment in its memory, its
 * working directory, which script it executes) the caller can change before the kernel
 * takes it. So the answer of rules that read it is for what has this sum: at commit,
 * where it is the new image's own, the sum is made again. Another one voids the answer,
 * as a file that was changed does.
 */
#ifndef BAILIFF_GIVEN_H
#define BAILIFF_GIVEN_H

#define GIVEN_DIFFERS 1 /* in given.texts: a round saw another text than the one before */

/* A file of an exec is about to be judged, the first one: nothing is noted yet. */
__noinline int given_round(void)
{
	struct key_room *room = key_room();

	if (room)
		room->given.texts = room->given.now = 0;
	return 0;
}

/* Notes that a ticket was for an exec that is given certain texts, if it was. */
__noinline int note_given(__u32 generation, __u32 clause)
{
	struct key_room *room = key_room();
	struct given *g;

	if (!room || !room->given.now)
		return 0;
	g = &room->given;
	if (!g->texts) {
		g->texts = g->now;
		g->origin = g->now_origin;
		g->clause = clause;
	} else if (g->origin != g->now_origin || g->texts != g->now) {
		g->texts |= GIVEN_DIFFERS;
	}
	g->sum = g->now_sum;
	/* The lower the number, the more the clause does. */
	if (clause < g->clause)
		g->clause = clause;
	g->generation = generation;
	g->now = 0;
	return 0;
}

/* SipHash-1-3. */
struct sip {
	__u64 v[4];
};

static __always_inline __u64 rol(__u64 x, int by)
{
	return x << by | x >> (64 - by);
}

static __always_inline void sip_round(struct sip *s)
{
	s->v[0] += s->v[1];
	s->v[2] += s->v[3];
	s->v[1] = rol(s->v[1], 13) ^ s->v[0];
	s->v[3] = rol(s->v[3], 16) ^ s->v[2];
	s->v[0] = rol(s->v[0], 32);
	s->v[2] += s->v[1];
	s->v[0] += s->v[3];
	s->v[1] = rol(s->v[1], 17) ^ s->v[2];
	s->v[3] = rol(s->v[3], 21) ^ s->v[0];
	s->v[2] = rol(s->v[2], 32);
}

static __always_inline void sip_word(struct sip *s, __u64 w)
{
	s->v[3] ^= w;
	sip_round(s);
	s->v[0] ^= w;
}

struct sip_walk {
	struct sip s;
	struct text_buf *buf;
	__u64 from, to;
	__u32 cut;
};

static long sip_step(__u64 i, struct sip_walk *w)
{
	sip_word(&w->s, *(__u64 *)&w->buf->text[(i * 8) & (TEXT_CHUNK - 1)]);
	return 0;
}

static long sip_chunk(__u64 i, struct sip_walk *w)
{
	__u64 n = read_chunk(w->buf, w->from, w->to);

	if (!n)
		return 1;
	/* The last word is filled up with zeros. */
	*(__u64 *)&w->buf->text[n & (2 * TEXT_CHUNK - 1)] = 0;
	w->from += n;
	bpf_loop((n + 7) / 8, sip_step, w, 0);
	return 0;
}

/* One text, then how long it was; a text that is not seen whole has no sum. */
static __noinline int sip_text(struct sip_walk *w, __u64 from, __u64 to)
{
	w->from = from;
	w->to = to;
	bpf_loop(TEXT_CHUNKS, sip_chunk, w, 0);
	if (w->from != w->to)
		w->cut = 1;
	sip_word(&w->s, to - from);
	return 0;
}

/* The sum of what the running image was given; 0 if it is not seen whole. sumGiven in
 * Go makes the same. */
static __noinline __u64 sum_given(__u32 texts, __u32 script)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct sip_walk w = {.cut = unknown_zero};
	struct key_room *room = key_room();
	__u64 k = settings.secret, path;
	struct exe_info *info;
	struct dentry *d;
	__u32 zero = 0;

	w.buf = bpf_map_lookup_elem(&text_buf, &zero);
	if (!w.buf || !t->mm)
		return 0;
	w.s.v[0] = k ^ 0x736f6d6570736575ULL;
	w.s.v[1] = ~k ^ 0x646f72616e646f6dULL;
	w.s.v[2] = k ^ 0x6c7967656e657261ULL;
	w.s.v[3] = ~k ^ 0x7465646279746573ULL;
	if (texts & KEY_ARGS)
		sip_text(&w, t->mm->arg_start, t->mm->arg_end);
	if (texts & KEY_ENV)
		sip_text(&w, t->mm->env_start, t->mm->env_end);
	if (texts & KEY_CWD) {
		d = t->fs->pwd.dentry;
		path = room ? hash_path((__u64)d, room) : 0;
		if (!path)
			w.cut = 1;
		sip_word(&w.s, d->d_inode->i_sb->s_dev);
		sip_word(&w.s, path);
	}
	if (texts & KEY_SCRIPT) {
		info = bpf_map_lookup_elem(&exe_infos, &script);
		sip_word(&w.s, info ? (__u64)info->file.id.dev << 32 | info->file.id.gen : 0);
		sip_word(&w.s, info ? info->file.id.ino : 0);
	}
	w.s.v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(&w.s);
	return w.cut ? 0 : (w.s.v[0] ^ w.s.v[1] ^ w.s.v[2] ^ w.s.v[3]) | 1;
}

/* Is the running image given something else than what the gate has judged? script is
 * the exe id of the first script that led to it, 0 if none did. */
__noinline int given_another(__u32 script)
{
	struct key_room *room = key_room();
	__u64 sum;

	if (!room || !room->given.texts)
		return 0;
	if (room->given.texts & GIVEN_DIFFERS)
		return 1;
	sum = sum_given(room->given.texts, script);
	return !sum || sum != room->given.sum;
}

#endif
