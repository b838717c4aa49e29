/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From a hook to a verdict: exemption, scope, the active generation's tables,
 * the verdicts that user space gave, the declared default, in that order.
 */
#ifndef BAILIFF_JUDGE_H
#define BAILIFF_JUDGE_H

/* Identities of a file: by its class, which says what the policy calls it, and
 * by its inode if it was moved away from where the policy found it. */
__noinline __u64 idents_of(const struct object_ref *ref, __u32 index)
{
	struct slot *s = bpf_map_lookup_elem(&slots, &index);
	struct inode *inode;
	struct class *c;
	struct file_id id;
	struct object *o;
	__u64 idents = 0;
	__u32 class;
	void *map;

	if (!ref)
		return 0;
	class = ref->place.path;
	inode = (void *)ref->inode;
	map = bpf_map_lookup_elem(&classes, &index);
	c = map ? bpf_map_lookup_elem(map, &class) : NULL;
	if (c)
		idents = c->idents;
	id.ino = BPF_CORE_READ(inode, i_ino);
	if (!s || !maybe_file(s, id.ino))
		return idents;
	map = bpf_map_lookup_elem(&objects, &index);
	id.dev = BPF_CORE_READ(inode, i_sb, s_dev);
	id.gen = BPF_CORE_READ(inode, i_generation);
	o = map ? bpf_map_lookup_elem(map, &id) : NULL;
	return o && o->flags & OBJECT_MOVED ? idents | o->idents : idents;
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

/* Tests on ancestors that one program meets. */
__noinline __u64 ancestor_bits(__u32 index, __u32 exe_id)
{
	void *map = bpf_map_lookup_elem(&classes, &index);
	__u32 path = exe_classes_of(index, exe_id);
	struct class *c = map ? bpf_map_lookup_elem(map, &path) : NULL;

	return c ? c->ancestor : 0;
}

static __noinline int push_ancestor(struct proc *p, __u32 exe)
{
	__u32 generation = settings.generation;

	if (!exe)
		return 0;
	for (int i = 0; i < MAX_ANCESTORS; i++) {
		if (i >= p->ancestors)
			break;
		if (p->ancestor[i] == exe)
			return 0;
	}
	/* Nearest first. When full the farthest goes, but not what it proves: a
   * chain of many programs must not shake off the one that started it. */
	if (p->ancestors == MAX_ANCESTORS && generation) {
		__u64 bits = ancestor_bits(generation % NUM_SLOTS, p->ancestor[MAX_ANCESTORS - 1]);

		count(COUNT_ANCESTORS_CUT);
		p->dropped = bits | (p->dropped_gen == generation ? p->dropped : 0);
		p->dropped_gen = generation;
	}
	for (int i = MAX_ANCESTORS - 1; i > 0; i--)
		p->ancestor[i] = p->ancestor[i - 1];
	p->ancestor[0] = exe;
	if (p->ancestors < MAX_ANCESTORS)
		p->ancestors++;
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

/* Makes the subject's vector for one hook current. Two threads may do it at
 * once: they write the same words, and whoever reads checks the generation
 * afterwards. */
__noinline int refresh(struct proc *p, __u32 generation, __u32 index, __u32 h)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct slot *s = bpf_map_lookup_elem(&slots, &index);
	const struct cred *cred = t->cred;
	struct subject_classes sc = {};
	const struct hook_conf *hc;
	struct vec *out;
	__u64 c;

	if (!s || !p || h >= NUM_JUDGED)
		return -1;
	if (p->uid != cred->uid.val || p->euid != cred->euid.val || p->cred != (__u64)cred) {
		forget_vectors(p);
		p->uid = cred->uid.val;
		p->euid = cred->euid.val;
		p->cred = (__u64)cred;
	}
	p->gen[row_of(h, NUM_JUDGED)] = 0;
	__sync_fetch_and_add(&p->version, 1);
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
	out = &p->vec[row_of(h, NUM_JUDGED)];
	if (subject_paths(out, &sc, index, h))
		return -1;
	for (int i = 0; i < MAX_SUBJECT_DIMS; i++) {
		const struct dim *d = &hc->subject[i];
		__u64 v;

		if (i >= hc->subject_dims || !out->sum)
			break;
		if (d->field == FIELD_PROCESS_ANCESTORS) {
			v = ancestors_met(p, generation, index);
		} else {
			v = subject_number(p, d->field);
			if (d->other)
				v = v == subject_number(p, d->other);
		}
		and_id(out, index, number_vec(d, v, index));
	}
	/* A thread with other credentials came in between: whoever asks next makes it
	 * anew. */
	__sync_fetch_and_add(&p->version, 1);
	if (p->cred == (__u64)cred)
		p->gen[row_of(h, NUM_JUDGED)] = generation;
	return 0;
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

/* The answer of the tables for one act, whose place has been looked up. */
__noinline int look_up(const struct proc *p, struct object_ref *o, __u32 index, __u32 h,
		       struct answer *a)
{
	struct slot *s = bpf_map_lookup_elem(&slots, &index);
	void *class_map = bpf_map_lookup_elem(&classes, &index);
	void *map = bpf_map_lookup_elem(&vecs, &index);
	struct match_walk m = {.a = a};
	struct hook_conf *hc;

	if (!p || !o || !a || !s || !map || !class_map || h >= NUM_JUDGED)
		return -1;
	a->first = a->held = a->maybe = NO_CLAUSE;
	hc = &s->hook[row_of(h, NUM_JUDGED)];
	m.subject = &p->vec[row_of(h, NUM_JUDGED)];
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
	if (h == HOOK_EXEC - 1)
		o->late = match_late(&m, s);
	match(&m);
	return 0;
}

/* Are the subject's vectors those of this generation and these credentials? */
static __always_inline bool current_vectors(const struct proc *p, struct task_struct *t,
					    __u32 generation, __u32 h)
{
	const struct cred *c = t->cred;

	return p->gen[h] == generation && !(settings.live & (1u << (h & 31))) &&
	       p->cred == (__u64)c && p->euid == c->euid.val && p->uid == c->uid.val;
}

/* One round: refresh the subject, walk to the object, look up. Returns the
 * generation that answered, 0 if none did. d is NULL for
 * fork, and where the object is known by numbers only. */
static __always_inline __u32 ask(struct answer *a, struct proc *p, struct object_ref *o,
				 struct task_struct *t, struct dentry *d, struct inode *inode,
				 __u32 h)
{
	__u32 generation = settings.generation, index;
	struct slot *s = slot_of(generation, &index);
	__u64 place, version;
	bool keep;

	a->first = a->held = a->maybe = NO_CLAUSE;
	if (!s)
		return 0;
	if (!current_vectors(p, t, generation, h) && refresh(p, generation, index, h))
		return 0;
	version = *(volatile __u64 *)&p->version; /* before the vectors are read */
	if (!p->vec[h].sum)
		return generation;
	if (o->dentry && (s->hook[h].uses_path || s->hook[h].uses_name)) {
		if (!o->place.path || o->place_of != generation)
			o->place.path =
				d ? path_class(d, inode, s, index) : path_class_far(o, index);
		o->place_of = 0; /* another round looks again */
		o->idents = s->hook[h].uses_idents ? idents_of(o, index) : 0;
		/* The common case of a process that some rule concerns. */
		if (o->place.path == CLASS_OTHER && s->hook[h].other_empty && !o->idents)
			return generation;
		o->place.name = s->uses_names ? place_name(o->place.path, (void *)o->dentry, index)
					      : CLASS_WHOLE;
	}
	/* Where nothing but its class is read of a file the answer is kept. Only an
	 * exec is held. */
	keep = h == HOOK_OPEN - 1 && !s->hook[h].object_dims;
	place = (__u64)o->place.path << 32 | o->place.name;
	if (keep && kept_answer(&p->kept, place, version, a))
		return generation;
	if (h == HOOK_EXEC - 1 && s->hook[h].uses_digest)
		digest_look_up(o, index);
	if (look_up(p, o, index, h, a))
		return 0;
	if (keep)
		keep_answer(&p->kept, place, version, a);
	return generation;
}

/* What follows from an answer. Returns 0 when nobody needs to hear of it. */
__noinline int conclude(struct judgement *j, const struct proc *p, const struct object_ref *o,
			const struct answer *a, __u32 hook)
{
	__u32 h = hook - 1, v, index, first, held, maybe, enforced = 0, open = 0;
	const struct hook_conf *hc;
	struct vec *kill;
	struct slot *s;
	bool blind;
	void *map;

	if (!j || !p || !o || !a || h >= NUM_ROWS)
		return 0;
	first = a->first;
	held = a->held;
	maybe = a->maybe;
	s = slot_of(j->generation, &index);
	if (!s || (first == NO_CLAUSE && held == NO_CLAUSE && maybe == NO_CLAUSE))
		return 0;
	hc = &s->hook[row_of(h, NUM_ROWS)];
	/* Without a digest: whoever allowed the act knew nothing of the file's content. */
	blind = hc->uses_digest && o->hook == HOOK_EXEC && o->blind;
	if (blind)
		count(COUNT_DIGEST_UNKNOWN);
	j->source = SOURCE_TABLE;
	j->flags = RECORD_MATCHED;
	j->clause = first;
	if (first < hc->audit_from) {
		j->verdict = VERDICT_DENY;
		enforced = first < hc->enforce_to;
		goto block;
	}
	if (held != NO_CLAUSE) {
		/* The gate has judged this before it let the exec begin. */
		v = of_gate(p, o, j->generation, o->hook, hc->held_key);
		enforced = !!(v & VERDICT_ENFORCED);
		v &= ~VERDICT_ENFORCED;
		open = v == VERDICT_NONE || (blind && v == VERDICT_ALLOW);
		if (open)
			count(COUNT_HELD_NONE);
		if (v == VERDICT_DENY || (open && held < hc->held_deny_to)) {
			if (open) {
				j->flags |= RECORD_UNDECIDED;
				enforced = held < hc->held_enforce_to;
			}
			j->source = open ? SOURCE_DEFAULT : SOURCE_GATE;
			j->clause = held;
			j->verdict = VERDICT_DENY;
			goto block;
		}
	}
	if (maybe != NO_CLAUSE) {
		v = remembered(p, o, j->generation, o->hook, hc->key);
		if (v == VERDICT_NONE || (blind && v == VERDICT_ALLOW)) {
			/* Fail open unless the rule says otherwise; counted, told. */
			j->flags |= RECORD_UNDECIDED;
			j->source = SOURCE_DEFAULT;
			j->clause = maybe;
			j->verdict = maybe < hc->maybe_allow_from ? VERDICT_DENY : VERDICT_ALLOW;
			if (!(hc->key & KEY_NONE) && !blind)
				j->flags |= RECORD_CACHEABLE;
			enforced = maybe < hc->maybe_enforce_to;
			if (j->verdict == VERDICT_DENY)
				goto block;
			if (maybe < hc->maybe_alert_from)
				count(COUNT_FAIL_OPEN_UNDECIDED);
			/* The rule is not known yet; the mode for the others is told. */
			v = mode_here(0);
			j->mode = v;
			j->mode_by = v >> 8;
			return 1;
		}
		count(COUNT_CACHE_HIT);
		enforced = !!(v & VERDICT_ENFORCED);
		v &= ~VERDICT_ENFORCED;
		if (v == VERDICT_DENY || (first == NO_CLAUSE && !open)) {
			j->verdict = v;
			j->source = SOURCE_CACHE;
			j->clause = maybe;
			if (v == VERDICT_DENY)
				goto block;
			return v == VERDICT_ALERT;
		}
	}
	if (open) {
		/* What the rule wants when the gate had no answer in time. */
		j->flags |= RECORD_UNDECIDED;
		j->source = SOURCE_DEFAULT;
		j->clause = held;
		j->verdict = VERDICT_ALLOW;
		count(COUNT_FAIL_OPEN_UNDECIDED);
		return 1;
	}
	if (first == NO_CLAUSE) {
		/* The gate let it pass, and no other rule holds. */
		j->flags = 0;
		j->source = SOURCE_GATE;
		j->verdict = VERDICT_ALLOW;
		return 1;
	}
	/* The rule audits or alerts: nothing is blocked. */
	j->verdict = first < hc->alert_from ? VERDICT_DENY : VERDICT_ALERT;
	j->mode_by = j->verdict == VERDICT_DENY ? BY_RULE : BY_ALL;
	j->mode = j->mode_by == BY_ALL && settings.mode;
	return 1;
block:
	v = mode_here(enforced);
	j->mode = v;
	j->mode_by = v >> 8;
	if (!j->mode)
		return 1;
	j->blocks = 1;
	map = bpf_map_lookup_elem(&vecs, &index);
	v = hc->kill_vec;
	kill = map ? bpf_map_lookup_elem(map, &v) : NULL;
	if (kill && j->clause < MAX_CLAUSES)
		j->kills = kill->w[(j->clause / 64) & (VEC_WORDS - 1)] >> (j->clause & 63) & 1;
	return 1;
}

/* Fills j. Returns 0 when nobody needs to hear of it. */
static __always_inline int judge(struct judgement *j, struct task_struct *t, struct proc *p,
				 struct object_ref *o, struct dentry *d, struct inode *inode,
				 __u32 hook)
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
	j->generation = ask(&a, p, o, t, d, inode, h);
	/* A policy change came in between: the vectors may be of the next generation.
   */
	if (j->generation && p->gen[h] != j->generation)
		j->generation = ask(&a, p, o, t, d, inode, h);
	if (j->bindings != settings.bindings)
		j->bindings |= 1;
	if (!j->generation) {
		/* Tables that are in force could not be read: fail open, counted. */
		count(COUNT_FAIL_OPEN_TABLES);
		return 0;
	}
	if (a.first == NO_CLAUSE && a.held == NO_CLAUSE && a.maybe == NO_CLAUSE)
		return 0;
	return conclude(j, p, o, &a, package);
}

#endif
