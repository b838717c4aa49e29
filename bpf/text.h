/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tests of arguments and environment. Which clauses of an exec may hold but for
 * them is noted when the file is judged (commit_note); only if there are any is
 * the text looked at, by one automaton for all tests (read_texts), and what it
 * found is one more dimension (and_texts).
 */
#ifndef BAILIFF_TEXT_H
#define BAILIFF_TEXT_H

/* Where the texts of an exec are. */
struct texts_at {
	__u64 args, args_end, env, env_end;
};

/* Clauses that hold for an exec but for their tests of text, of the file that
 * was judged last and of those that led to it (scripts). By task: threads of one
 * process may be on their way to an exec at once. */
struct commit_room {
	__u32 generation;
	__u32 exe;	  /* exe id of the file */
	__u32 script_exe; /* and of the first script that clauses are left of */
	__u32 pad;
	struct wire_file file;
	struct wire_file script_file;
	struct digest digest, script_digest;
	struct vec vec;
	struct vec script;
	/* What commit_check would have on its stack. */
	struct texts_at at;
	struct answer of_file;
	struct answer of_script;
	__u32 of;  /* the clause holds for: the file, or (1) the script */
	__u32 cut; /* not all text was seen */
	struct judgement late;
	struct object_ref none; /* all zero */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct commit_room);
} commit_rooms SEC(".maps");

static __always_inline struct commit_room *commit_room(__u64 flags)
{
	return bpf_task_storage_get(&commit_rooms, bpf_get_current_task_btf(), 0, flags);
}

/* Begins to note which clauses wait: those that hold for the subject. */
static __always_inline struct commit_room *begin_note(const struct vec *subject,
						      const struct slot *s)
{
	struct commit_room *room = commit_room(BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!room) {
		count(COUNT_FAIL_OPEN_CONTEXT);
		return NULL;
	}
	bpf_probe_read_kernel(&room->vec, sizeof(room->vec), subject);
	room->vec.sum &= s->commit_words;
	room->generation = s->generation;
	return room;
}

/* Of them, those that hold for a file of this class. */
static __always_inline void note_class(struct commit_room *room, __u32 index, __u32 class)
{
	void *map = bpf_map_lookup_elem(&classes, &index);
	const struct class *c = map ? bpf_map_lookup_elem(map, &class) : NULL;

	if (c)
		and_id(&room->vec, index, c->file[HOOK_EXEC - 1]);
}

/* What is read at a time; programs that read run with preemption off. */
struct text_buf {
	char text[TEXT_CHUNK + 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct text_buf);
} text_buf SEC(".maps");

struct text_scan {
	const struct text_conf *conf;
	struct text_buf *buf;
	__u64 from; /* what is left to read */
	__u64 to;
	__u64 met;  /* tests that some text meets */
	__u64 mask; /* tests that are about this text */
	__u32 seen; /* variables that have been there */
	__u32 index;
	__u32 state;
	__u32 nth; /* argument */
	__u32 at;  /* in buf */
	__u32 len;
	__u32 env;
	__u32 cut;
};

static __always_inline void begin_text(struct text_scan *s)
{
	__u32 n = s->nth;

	if (s->env) {
		s->state = s->conf->env_state;
		s->mask = 0; /* until its name is known */
		return;
	}
	n = n < TEXT_AT ? n : TEXT_AT - 1;
	asm volatile("" : "+r"(n));
	s->mask = s->conf->at[n & (TEXT_AT - 1)];
	s->state = s->conf->arg_state;
}

/* The automaton cannot be read: the rules were exchanged. Closed: what is left
 * counts as not seen. */
static __always_inline long text_lost(struct text_scan *s)
{
	s->cut = 1;
	return 1;
}

/* One byte; several where no test can be met any more. */
static long text_step(__u64 i, struct text_scan *s)
{
	const struct text_state *row;
	__u32 at = s->at & (TEXT_CHUNK - 1), state;
	void *map;
	__u8 c;

	if (s->at >= s->len)
		return 1;
	if (!s->state) {
		__u64 w = *(__u64 *)&s->buf->text[at];

		/* No byte of it is 0. */
		if (s->at + 8 <= s->len && !((w - 0x0101010101010101) & ~w & 0x8080808080808080)) {
			s->at += 8;
			return 0;
		}
	}
	c = s->buf->text[at];
	s->at++;
	if (!s->state) {
		if (!c) {
			s->nth++;
			begin_text(s);
		}
		return 0;
	}
	map = bpf_map_lookup_elem(&texts, &s->index);
	if (!map)
		return text_lost(s);
	state = s->state;
	row = bpf_map_lookup_elem(map, &state);
	if (!row)
		return text_lost(s);
	if (row->var) {
		const struct text_var *v = &s->conf->var[(row->var - 1) & (TEXT_VARS - 1)];
		__u32 bit = 1U << ((row->var - 1) & (TEXT_VARS - 1));

		/* Who reads it may take the first one or the last. */
		if (s->seen & bit)
			s->cut = 1;
		s->seen |= bit;
		s->mask = v->mask;
		state = v->state;
		row = bpf_map_lookup_elem(map, &state);
		if (!row)
			return text_lost(s);
	}
	s->met |= row->now & s->mask;
	if (!c) {
		s->met |= row->end & s->mask;
		s->nth++;
		begin_text(s);
		return 0;
	}
	s->state = row->next[s->conf->class[c] & (TEXT_CLASSES - 1)];
	return 0;
}

/* Reads what comes next of a text; returns its bytes, 0 at the end and where it cannot be
 * read. */
static __always_inline __u64 read_chunk(struct text_buf *buf, __u64 from, __u64 to)
{
	__u64 n = to - from;

	if (n > TEXT_CHUNK)
		n = TEXT_CHUNK;
	asm volatile("" : "+r"(n));
	if (!n || n > TEXT_CHUNK || bpf_probe_read_user(buf->text, n, (void *)from))
		return 0;
	return n;
}

static long text_chunk(__u64 i, struct text_scan *s)
{
	__u64 n = read_chunk(s->buf, s->from, s->to);

	if (!n)
		return 1;
	s->from += n;
	s->len = n;
	s->at = unknown_zero;
	bpf_loop(TEXT_CHUNK, text_step, s, 0);
	return 0;
}

/* The tests that texts meet which lie one after the other, each ended by NUL. */
__noinline __u64 read_text(__u32 index, __u32 env, __u64 from, __u64 to)
{
	/* What the callbacks change must not be known to be 0: verifiers before 6.7
	 * follow one round of a loop, and take out what that does not reach. */
	struct text_scan w = {.index = index,
			      .env = env,
			      .from = from,
			      .to = to,
			      .met = unknown_zero,
			      .seen = unknown_zero,
			      .cut = unknown_zero,
			      .nth = unknown_zero};
	struct slot *s = bpf_map_lookup_elem(&slots, &index);
	__u32 zero = 0;

	w.buf = bpf_map_lookup_elem(&text_buf, &zero);
	if (!s || !w.buf)
		return TEXT_ARGS_CUT | TEXT_ENV_CUT;
	w.conf = &s->text;
	begin_text(&w);
	bpf_loop(TEXT_CHUNKS, text_chunk, &w, 0);
	if (w.cut || w.from != w.to)
		w.met |= env ? TEXT_ENV_CUT : TEXT_ARGS_CUT;
	return w.met;
}

__noinline __u64 read_texts(const struct texts_at *at, __u32 index)
{
	struct slot *s = bpf_map_lookup_elem(&slots, &index);
	__u64 met = 0;

	if (!at || !s)
		return 0;
	if (s->text.arg_state)
		met = read_text(index, 0, at->args, at->args_end);
	if (s->text.env_state)
		met |= read_text(index, 1, at->env, at->env_end);
	return met;
}

/* Takes from a set of clauses those whose tests of text do not hold. */
__noinline int and_texts(struct vec *acc, __u64 met, __u64 argc, __u32 index)
{
	struct slot *s = bpf_map_lookup_elem(&slots, &index);
	const struct hook_conf *hc;

	if (!acc || !s)
		return 0;
	hc = &s->hook[ROW_COMMIT];
	for (int i = 0; i < MAX_SUBJECT_DIMS; i++) {
		if (i >= hc->subject_dims || !acc->sum)
			break;
		and_id(acc, index, number_vec(&hc->subject[i], met, index));
	}
	for (int i = 0; i < MAX_OBJECT_DIMS; i++) {
		if (i >= hc->object_dims || !acc->sum)
			break;
		and_id(acc, index, number_vec(&hc->object[i], argc, index));
	}
	return 0;
}

/* The first clause of each kind. */
__noinline int first_late(struct answer *a, const struct vec *v, __u32 index)
{
	struct slot *s = bpf_map_lookup_elem(&slots, &index);
	__u32 maybe_from;
	__u64 sum;

	if (!a || !v || !s)
		return 0;
	a->first = a->held = a->maybe = NO_CLAUSE;
	maybe_from = s->hook[ROW_COMMIT].maybe_from;
	sum = v->sum;
	for (int n = 0; n < VEC_WORDS; n++) {
		__u32 i, base;
		__u64 w;

		if (!sum)
			break;
		i = lowest_bit(sum);
		sum &= sum - 1;
		w = v->w[i];
		base = i * 64;
		if (a->first == NO_CLAUSE && base + lowest_bit(w) < maybe_from)
			a->first = base + lowest_bit(w);
		if (maybe_from >= base + 64)
			continue;
		if (maybe_from > base)
			w = w >> ((maybe_from - base) & 63) << ((maybe_from - base) & 63);
		if (w) {
			a->maybe = base + lowest_bit(w);
			break;
		}
	}
	return 0;
}

#endif
