/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The last word on an exec: the new image is in place with its arguments and
 * its environment, in memory that nobody else has, and has not run. What rules
 * say about them is decided here, and SIGKILL comes before the first
 * instruction.
 */
#ifndef BAILIFF_COMMIT_H
#define BAILIFF_COMMIT_H

/* A file of an exec is about to be judged: the first one, or one that the file
 * before it has led to (the interpreter of a script). */
static __noinline int commit_round(bool first)
{
	struct commit_room *room = commit_room(0);

	if (!room)
		return 0;
	if (first) {
		room->script.sum = 0;
	} else if (room->vec.sum && !room->script.sum) {
		bpf_probe_read_kernel(&room->script, sizeof(room->script), &room->vec);
		bpf_probe_read_kernel(&room->script_file, sizeof(room->script_file), &room->file);
		bpf_probe_read_kernel(&room->script_digest, sizeof(room->script_digest),
				      &room->digest);
		room->script_exe = room->exe;
	}
	room->vec.sum = 0;
	return 0;
}

/* Some clause may hold for the file that was judged last, by the tables of this
 * generation, but for its texts: notes which. */
__noinline int commit_note(const struct proc *p, struct object_ref *o, __u32 exe, __u32 generation)
{
	const struct hook_conf *hc;
	struct commit_room *room;
	struct subject_vec *own;
	__u32 index, all;
	struct vec *met;
	struct slot *s;
	void *map;

	if (!p || !o)
		return 0;
	s = slot_of(generation, &index);
	if (!s) {
		/* The rules were exchanged since the file was judged. */
		count(COUNT_FAIL_OPEN_TABLES);
		return 0;
	}
	own = vec_at(o->vec);
	map = bpf_map_lookup_elem(&vecs, &index);
	all = s->hook[HOOK_EXEC - 1].all_vec;
	met = map ? bpf_map_lookup_elem(map, &all) : NULL;
	if (!own || !met) {
		count(COUNT_FAIL_OPEN_TABLES);
		return 0;
	}
	room = begin_note(&own->vec, s);
	if (room && !is_vec(o->vec))
		room = begin_note(met, s); /* it is lost: what it says counts as met */
	if (!room)
		return 0;
	note_class(room, index, o->place.path);
	note_class(room, index, o->place.name);
	hc = &s->hook[HOOK_EXEC - 1];
	for (int i = 0; i < MAX_OBJECT_DIMS; i++) {
		const struct dim *d = &hc->object[i];
		__u64 v;

		if (i >= hc->object_dims || !room->vec.sum)
			break;
		v = object_number(o, d->field);
		if (d->other)
			v = v == object_number(o, d->other);
		and_id(&room->vec, index, number_vec(d, v, index));
	}
	if (room->vec.sum) {
		room->exe = exe;
		bpf_probe_read_kernel(&room->digest, sizeof(room->digest), &p->pending.last_digest);
		file_facts(&room->file, (void *)o->dentry, (void *)o->inode);
	}
	return 0;
}

/* What arguments and environment meet, if anything waits for that. Not called by
 * commit_check: kernels before 6.13 add up the frames of a call chain. */
__noinline __u64 commit_texts(void)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct commit_room *room = commit_room(0);
	__u32 index;

	if (!room || !(room->vec.sum | room->script.sum) || !t->mm ||
	    !slot_of(room->generation, &index))
		return 0;
	room->at.args = t->mm->arg_start;
	room->at.args_end = t->mm->arg_end;
	room->at.env = t->mm->env_start;
	room->at.env_end = t->mm->env_end;
	return read_texts(&room->at, index);
}

/* Finds the clause that holds, if anything waits; met is what commit_texts has
 * found. */
__noinline int commit_find(__u64 argc, __u64 met)
{
	struct commit_room *room = commit_room(0);
	struct answer *a, *b;
	__u32 index;

	if (!room || !(room->vec.sum | room->script.sum))
		return 0;
	if (!slot_of(room->generation, &index)) {
		/* The rules were exchanged since the file was judged. */
		count(COUNT_FAIL_OPEN_TABLES);
		room->vec.sum = room->script.sum = 0;
		return 0;
	}
	and_texts(&room->vec, met, argc, index);
	and_texts(&room->script, met, argc, index);
	a = &room->of_file;
	b = &room->of_script;
	first_late(a, &room->vec, index);
	first_late(b, &room->script, index);
	room->vec.sum = room->script.sum = 0;
	/* The lower the number, the more the clause does. */
	room->of = b->first < a->first || (a->first == NO_CLAUSE && b->maybe < a->maybe);
	if (b->first < a->first)
		a->first = b->first;
	if (b->maybe < a->maybe)
		a->maybe = b->maybe;
	room->cut = !!(met & (TEXT_ARGS_CUT | TEXT_ENV_CUT));
	return a->first != NO_CLAUSE || a->maybe != NO_CLAUSE;
}

/* What was decided last takes the place of what was decided before, if it is worse. */
static __always_inline int commit_take(struct proc *p, struct commit_room *room)
{
	if (room->late.verdict <= p->pending.j.verdict && !room->late.blocks) {
		p->pending.j.flags |= room->late.flags & RECORD_UNDECIDED;
		return 0;
	}
	room->late.flags |= p->pending.j.flags & RECORD_UNDECIDED;
	bpf_probe_read_kernel(&p->pending.j, sizeof(p->pending.j), &room->late);
	p->pending.valid = room->of;
	if (room->of) {
		p->pending.judged_exe = room->script_exe;
		bpf_probe_read_kernel(&p->pending.file, sizeof(p->pending.file),
				      &room->script_file);
		bpf_probe_read_kernel(&p->pending.digest, sizeof(p->pending.digest),
				      &room->script_digest);
	}
	return 0;
}

/* Decides by what commit_find has found. What was decided before, in p->pending
 * with the file that it is about, stays or is replaced by what is worse. */
__noinline int commit_check(struct proc *p)
{
	struct commit_room *room = commit_room(0);

	if (!p || !room)
		return 0;
	__builtin_memset(&room->late, 0, sizeof(room->late));
	room->late.generation = room->generation;
	room->late.bindings = p->pending.j.bindings;
	if (!conclude(&room->late, p, &room->none, &room->of_file, HOOK_COMMIT))
		return 0;
	room->late.flags |= RECORD_COMMIT;
	if (room->cut) {
		/* Not seen whole: a test that may hold counts as met. */
		count(COUNT_FAIL_CLOSED_TEXT);
		room->late.flags |= RECORD_UNDECIDED;
		room->late.source = SOURCE_DEFAULT;
	}
	return commit_take(p, room);
}

/* The exec is given something else than what the gate has allowed it for: as if it had
 * not answered. */
__noinline int commit_given(struct proc *p)
{
	struct commit_room *room = commit_room(BPF_LOCAL_STORAGE_GET_F_CREATE);
	struct key_room *judged = key_room();

	if (!p || !room || !judged) {
		count(COUNT_FAIL_OPEN_CONTEXT);
		return 0;
	}
	count(COUNT_HELD_GIVEN);
	__builtin_memset(&room->late, 0, sizeof(room->late));
	room->late.generation = judged->given.generation;
	room->late.bindings = p->pending.j.bindings;
	room->of_file.first = room->of_file.maybe = NO_CLAUSE;
	room->of_file.held = judged->given.clause;
	if (!conclude(&room->late, p, &room->none, &room->of_file, HOOK_EXEC)) {
		count(COUNT_FAIL_OPEN_TABLES);
		return 0;
	}
	room->of = 0;
	room->late.flags |= RECORD_COMMIT;
	return commit_take(p, room);
}

#endif
