/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a hook to a verdict: exemption, scope, the active generation's tables,
 * the verdicts that user space gave, the declared default, in that order.
 */
#ifndef BAILIFF_JUDGE_H
#define BAILIFF_JUDGE_H

/* Identities of a file: its class says what the policy calls it. */
static __always_inline __u64 idents_of(__u32 class, __u32 index)
{
	void *map = bpf_map_lookup_elem(&classes, &index);
	struct class *c = map ? bpf_map_lookup_elem(map, &class) : NULL;

	return c ? c->idents : 0;
}

/* Classes of a program in the generation at index, path in the low half. */
__noinline __u64 exe_classes_of(__u32 index, __u32 exe_id)
{
	void *map = bpf_map_lookup_elem(&exe_classes, &index);
	struct exe_class *known = map ? bpf_map_lookup_elem(map, &exe_id) : NULL;

	if (known)
		return (__u64)known->name << 32 | known->path;
	count(COUNT_FAIL_CLOSED_EXE);
	return (__u64)CLASS_WHOLE << 32 | CLASS_UNRESOLVED;
}

/* Tests on ancestors that one program meets. The class of one of which nothing is
 * known meets all, ANCESTOR_UNKNOWN among them. */
__noinline __u64 ancestor_bits(__u32 index, __u32 exe_id)
{
	void *map = bpf_map_lookup_elem(&classes, &index);
	__u32 path = exe_classes_of(index, exe_id);
	struct class *c = map ? bpf_map_lookup_elem(map, &path) : NULL;

	if (c)
		return c->ancestor;
	count(COUNT_FAIL_CLOSED_EXE);
	return ~0ULL;
}

/* Is there a shell among the ancestors that are in the list? */
__noinline int shell_above(const struct proc *p, __u32 index)
{
	if (!p)
		return 0;
	for (int i = 0; i < MAX_ANCESTORS; i++) {
		if (i >= p->ancestors)
			break;
		if (ancestor_bits(index, p->ancestor[i]) & ANCESTOR_SHELL)
			return 1;
	}
	return 0;
}

static __noinline int push_ancestor(struct proc *p, __u32 exe)
{
	__u32 generation = settings.generation, first = exe;

	if (!exe)
		return 0;
	/* Nearest first: one that is in the list already comes to the front. */
	for (int i = 0; i < MAX_ANCESTORS; i++) {
		__u32 next;

		if (i >= p->ancestors) {
			p->ancestor[i] = first;
			p->ancestors++;
			return 0;
		}
		next = p->ancestor[i];
		p->ancestor[i] = first;
		if (next == exe)
			return 0;
		first = next;
	}
	/* When full the farthest goes, but not what it proves: a chain of many
	 * programs must not shake off the one that started it. Nor does the nearest
	 * shell go, but the farthest beside it. */
	if (generation) {
		__u32 index = generation % NUM_SLOTS;
		__u64 bits = ancestor_bits(index, first);

		if (bits & ANCESTOR_SHELL && !shell_above(p, index)) {
			bits = ancestor_bits(index, p->ancestor[MAX_ANCESTORS - 1]);
			p->ancestor[MAX_ANCESTORS - 1] = first;
		}
		count(COUNT_ANCESTORS_CUT);
		p->dropped = bits | (p->dropped_gen == generation ? p->dropped : 0);
		p->dropped_gen = generation;
	}
	return 0;
}

/* Tests on ancestors that any of them meets. */
__noinline __u64 ancestors_met(const struct proc *p, __u32 generation, __u32 index)
{
	__u64 bits = 0;

	if (!p)
		return 0;
	for (int i = 0; i < MAX_ANCESTORS; i++) {
		if (i >= p->ancestors)
			break;
		bits |= ancestor_bits(index, p->ancestor[i]);
	}
	return p->dropped_gen == generation ? bits | p->dropped : bits;
}

/* Class of the shell that a process is, if its own class says so, or else of the
 * nearest one above it. One of which nothing is known may be it: its class counts
 * every condition as met. */
__noinline __u32 shell_class(const struct proc *p, __u32 own, __u32 index)
{
	void *map = bpf_map_lookup_elem(&classes, &index);
	struct class *c = map ? bpf_map_lookup_elem(map, &own) : NULL;

	if (!p || !c || c->ancestor & ANCESTOR_SHELL)
		return own;
	for (int i = 0; i < MAX_ANCESTORS; i++) {
		if (i >= p->ancestors)
			break;
		if (ancestor_bits(index, p->ancestor[i]) & ANCESTOR_SHELL)
			return exe_classes_of(index, p->ancestor[i]);
	}
	return CLASS_NO_SHELL;
}

/* The vector of tests on ancestors. Where one is not known every condition on them
 * counts as met, whichever way it is put: fail closed, counted where it was asked
 * for. */
static __always_inline __u32 ancestors_vec(const struct dim *d, __u64 bits, __u32 index)
{
	return bits & ANCESTOR_UNKNOWN ? VEC_ONES : number_vec(d, bits, index);
}

/* Makes the subject's vector for one hook, as it is for this thread, and returns the
 * reference to it; 0 if there are no tables. Two threads may do it at once: each
 * makes its own, and the process has one of them. */
__noinline __u64 refresh(struct proc *p, __u32 generation, __u32 index, __u32 h)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct slot *s = bpf_map_lookup_elem(&slots, &index);
	const struct cred *cred = t->cred;
	struct subject_classes sc = {};
	const struct hook_conf *hc;
	struct subject_vec *own;
	struct vec *out;
	__u64 c, ref = VEC_NONE;

	if (!s || !p || h >= NUM_JUDGED)
		return 0;
	if (p->uid != cred->uid.val || p->euid != cred->euid.val || p->cred != (__u64)cred ||
	    !same_creds(p, cred)) {
		forget_vectors(p);
		p->uid = cred->uid.val;
		p->euid = cred->euid.val;
		p->gid = cred->gid.val;
		p->egid = cred->egid.val;
		p->caps = effective_caps(cred);
		p->user_ns = cred->user_ns->ns.inum;
		p->cred = (__u64)cred;
	}
	*(volatile __u32 *)&p->gen[row_of(h, NUM_JUDGED)] = 0;
	own = take_vec(p->ref[row_of(h, NUM_JUDGED)], &ref);
	if (!own) {
		/* Closed. Whoever asks next tries again. */
		count(COUNT_VECTOR_LOST);
		return VEC_ALL;
	}
	if (p->class_gen == generation)
		c = (__u64)p->class.name << 32 | p->class.path;
	else
		c = exe_classes_of(index, p->exe_id);
	sc.class[0] = c;
	sc.class[1] = c >> 32;
	c = p->parent_exe_id ? exe_classes_of(index, p->parent_exe_id)
			     : (__u64)CLASS_NO_NAME << 32 | CLASS_OTHER;
	sc.class[2] = c;
	sc.class[3] = c >> 32;
	hc = &s->hook[row_of(h, NUM_JUDGED)];
	out = &own->vec;
	if (subject_paths(out, &sc, index, h)) {
		give_vec(own, 0);
		return 0;
	}
	if (hc->uses_shell && out->sum)
		and_shell(out, shell_class(p, sc.class[0], index), index, h);
	for (int i = 0; i < MAX_SUBJECT_DIMS; i++) {
		const struct dim *d = &hc->subject[i];
		__u64 v;

		if (i >= hc->subject_dims || !out->sum)
			break;
		if (d->field == FIELD_PROCESS_ANCESTORS) {
			v = ancestors_met(p, generation, index);
			and_id(out, index, ancestors_vec(d, v, index));
			continue;
		}
		v = subject_number(p, d->field);
		if (d->other)
			v = v == subject_number(p, d->other);
		and_id(out, index, number_vec(d, v, index));
	}
	if (!out->sum)
		ref = VEC_NONE;
	*(volatile __u64 *)&own->cred = (__u64)cred;
	c = *(volatile __u64 *)&own->cred;
	give_vec(own, ref > VEC_NONE ? ref : 0);
	*(volatile __u64 *)&p->ref[row_of(h, NUM_JUDGED)] = ref;
	*(volatile __u64 *)&p->tie[row_of(h, NUM_JUDGED)] = ref ^ c;
	/* Where a thread with other credentials came in between whoever asks next makes
	 * it anew. */
	if (p->cred == (__u64)cred)
		*(volatile __u32 *)&p->gen[row_of(h, NUM_JUDGED)] = generation;
	return ref;
}

__noinline __u64 object_number(struct object_ref *o, __u32 field)
{
	struct dentry *d;
	struct inode *inode, *dir;

	if (!o)
		return 0;
	switch (field) {
	case FIELD_HOOK: return o->hook;
	case FIELD_OPEN_FLAGS: return o->open_flags;
	case FIELD_FORK_FLAGS: return o->clone_flags;
	case FIELD_TARGET_TRAITS: return o->hook == HOOK_PTRACE ? o->target_traits : 0;
	case FIELD_PROCESS_CGROUP_PROCESSES: return o->procs;
	case FIELD_PROCESS_CGROUP_FORKS_PER_SECOND:
	case FIELD_PROCESS_CGROUP_EXECS_PER_SECOND: return o->rate;
	case FIELD_PROCESS_TRAITS: return process_traits();
	case FIELD_PROCESS_STDIO: return o->hook == HOOK_EXEC ? stdio_bits() : 0;
	case FIELD_FILE_IDENTITIES: return o->idents;
	case FIELD_FILE_SHA256: return o->digest;
	case FIELD_FILE_VERITY: return o->verity;
	}
	if (!o->dentry)
		return 0;
	d = (void *)o->dentry;
	inode = (void *)o->inode;
	dir = BPF_CORE_READ(d, d_parent, d_inode);
	switch (field) {
	case FIELD_FILE_AGE:
		if (!o->age)
			o->age = file_age(inode, bpf_ktime_get_boot_ns()) + 1;
		return o->age - 1;
	case FIELD_FILE_MODE: return BPF_CORE_READ(inode, i_mode);
	case FIELD_FILE_UID: return BPF_CORE_READ(inode, i_uid.val);
	case FIELD_FILE_GID: return BPF_CORE_READ(inode, i_gid.val);
	case FIELD_FILE_NLINK: return BPF_CORE_READ(inode, i_nlink);
	case FIELD_FILE_FS_MAGIC: return BPF_CORE_READ(d, d_sb, s_magic);
	case FIELD_FILE_DIR_MODE: return BPF_CORE_READ(dir, i_mode);
	case FIELD_FILE_DIR_UID: return BPF_CORE_READ(dir, i_uid.val);
	case FIELD_FILE_TRAITS: {
		struct super_block *sb = BPF_CORE_READ(d, d_sb);

		return traits_of(inode, BPF_CORE_READ(sb, s_magic), BPF_CORE_READ(sb, s_flags),
				 BPF_CORE_READ(inode, i_mode), BPF_CORE_READ(inode, i_nlink),
				 BPF_CORE_READ(dir, i_mode));
	}
	}
	return 0;
}

/* The answer of the tables for one act, whose place has been looked up, by the
 * subject's vector at ref, or VEC_ALL. Returns 1 if the vector was lost: the answer is
 * of no use. */
__noinline int look_up(__u64 ref, struct object_ref *o, __u32 index, __u32 h, struct answer *a)
{
	struct slot *s = bpf_map_lookup_elem(&slots, &index);
	void *class_map = bpf_map_lookup_elem(&classes, &index);
	void *map = bpf_map_lookup_elem(&vecs, &index);
	struct match_walk m = {.a = a};
	struct subject_vec *own = vec_at(ref);
	struct hook_conf *hc;
	__u32 all;

	if (!o || !a || !s || !map || !class_map || !own || h >= NUM_JUDGED)
		return -1;
	a->first = a->held = a->maybe = NO_CLAUSE;
	hc = &s->hook[row_of(h, NUM_JUDGED)];
	m.subject = &own->vec;
	if (ref == VEC_ALL) {
		all = hc->all_vec;
		m.subject = bpf_map_lookup_elem(map, &all);
		if (!m.subject)
			return -1;
	}
	if (match_begin(&m, s, map, h))
		return -1;
	if (o->dentry && (match_class(&m, map, 0, class_map, o->place.path, h) ||
			  match_class(&m, map, 1, class_map, o->place.name, h)))
		return -1;
#pragma unroll
	for (int i = 0; i < MAX_OBJECT_DIMS; i++) {
		const struct dim *d = &hc->object[i];
		__u64 v;

		if (i >= hc->object_dims)
			break;
		v = object_number(o, d->field);
		if (d->other)
			v = v == object_number(o, d->other);
		if (match_dim(&m, map, 2 + i, number_vec(d, v, index)))
			return -1;
	}
	if (h == HOOK_EXEC - 1) {
		s = bpf_map_lookup_elem(&slots, &index); /* again: the stack is full */
		if (!s)
			return -1;
		o->late = match_late(&m, s);
		if (o->hook == HOOK_EXEC)
			o->vec = ref;
	}
	match(&m);
	return ref != VEC_ALL && !is_vec(ref);
}

/* Is the vector at ref, which was read before this, that of this generation and these
 * credentials? A thread that makes one anew writes generation 0, credentials,
 * reference, tie and generation, in this order. Threads that do so at once may mix
 * what they write: no reference is tied to credentials that it was not made for. */
static __always_inline bool current_vector(const struct proc *p, struct task_struct *t,
					   __u32 generation, __u32 h, __u64 ref)
{
	__u64 cred = *(volatile const __u64 *)&p->cred;
	__u32 live = settings.live & ((1u << LIVE_CREDS | 1) << (h & (LIVE_CREDS - 1)));
	const struct cred *c = t->cred;

	return cred == (__u64)c && p->euid == c->euid.val && p->uid == c->uid.val &&
	       (!live || (!(live & ((1u << LIVE_CREDS) - 1)) && same_creds(p, c))) &&
	       *(volatile const __u32 *)&p->gen[h] == generation &&
	       *(volatile const __u64 *)&p->tie[h] == (ref ^ cred);
}

/* One round: refresh the subject, walk to the object, look up. Returns the
 * generation that answered, 0 if none did. *slot is its slot, and before that one
 * that may be it, or NULL. d is NULL for fork, and where the object is known by
 * numbers only. */
static __always_inline __u32 ask(struct answer *a, struct proc *p, struct object_ref *o,
				 struct task_struct *t, struct dentry *d, struct inode *inode,
				 __u32 h, struct slot **slot)
{
	__u32 generation = settings.generation, index = generation % NUM_SLOTS;
	struct slot *s = *slot;
	__u64 place, ref;
	bool keep;
	int lost;

	if (!s || !generation || s->generation != generation)
		s = slot_of(generation, &index);
	*slot = s;
	a->first = a->held = a->maybe = NO_CLAUSE;
	if (!s)
		return 0;
	ref = ref_of(p, h);
	if (!current_vector(p, t, generation, h, ref)) {
		ref = refresh(p, generation, index, h);
		if (!ref)
			return 0;
	}
	if (ref == VEC_NONE)
		return generation; /* no rule concerns this process */
	if (o->dentry && (s->hook[h].uses_path || s->hook[h].uses_name)) {
		if (!o->place.path || o->place_of != generation)
			o->place.path =
				d ? path_class(d, inode, s, index) : path_class_far(o, index);
		o->place_of = 0; /* another round looks again */
		/* The common case of a process that some rule concerns. */
		if (o->place.path == CLASS_OTHER && s->hook[h].other_empty)
			return generation;
		o->idents = s->hook[h].uses_idents ? idents_of(o->place.path, index) : 0;
		o->place.name = s->uses_names ? place_name(o->place.path, (void *)o->dentry, index)
					      : CLASS_WHOLE;
	}
	/* Where nothing but its class is read of a file the answer is kept. Only an
	 * exec is held. */
	keep = h == HOOK_OPEN - 1 && !s->hook[h].object_dims;
	place = (__u64)o->place.path << 32 | o->place.name;
	if (keep && kept_answer(&p->kept, place, ref, a))
		return generation;
	if (h == HOOK_EXEC - 1 && s->hook[h].uses_digest)
		digest_look_up(o, index);
	if (!is_vec(ref)) {
		ref = refresh(p, generation, index, h);
		if (ref <= VEC_NONE)
			return ref ? generation : 0;
	}
	lost = look_up(ref, o, index, h, a);
	if (lost > 0) {
		/* Closed, and the caller asks once more. */
		count(COUNT_VECTOR_LOST);
		p->gen[h] = 0;
		lost = look_up(VEC_ALL, o, index, h, a);
	} else if (keep && ref != VEC_ALL) {
		keep_answer(&p->kept, place, ref, a);
	}
	if (lost)
		return 0;
	return generation;
}

/* Fills j. Returns 0 when nobody needs to hear of it. s is as in ask. */
static __always_inline int judge_by(struct judgement *j, struct task_struct *t, struct proc *p,
				    struct object_ref *o, struct dentry *d, struct inode *inode,
				    __u32 hook, struct slot *s)
{
	struct answer a;
	__u32 package = package_of(hook), h = package - 1;

	if (!settings.generation || p->flags & PROC_RESCUE || h >= NUM_JUDGED)
		return 0;
	if (d) {
		o->dentry = (__u64)d;
		o->inode = (__u64)inode;
	}
	j->bindings = settings.bindings;
	o->hook = hook;
	j->generation = ask(&a, p, o, t, d, inode, h, &s);
	/* A policy change came in between, or the vector was lost. */
	if (j->generation && p->gen[h] != j->generation)
		j->generation = ask(&a, p, o, t, d, inode, h, &s);
	if (j->bindings != settings.bindings)
		j->bindings |= 1;
	if (!j->generation) {
		/* Tables that are in force could not be read: fail open, counted. */
		count(COUNT_FAIL_OPEN_TABLES);
		return 0;
	}
	if (a.held == NO_CLAUSE && a.maybe == NO_CLAUSE) {
		if (a.first == NO_CLAUSE)
			return 0;
		/* The common end of an open, in place of a call. */
		if (h == HOOK_OPEN - 1 && s && a.first >= s->hook[h].audit_from) {
			j->flags = RECORD_MATCHED;
			only_tell(j, &s->hook[h], a.first);
			return 1;
		}
	}
	return conclude(j, p, o, &a, package);
}

static __always_inline int judge(struct judgement *j, struct task_struct *t, struct proc *p,
				 struct object_ref *o, struct dentry *d, struct inode *inode,
				 __u32 hook)
{
	return judge_by(j, t, p, o, d, inode, hook, NULL);
}

#endif
