/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * exec. bprm_check_security runs before the point of no return, once for each
 * file of a chain (script, then interpreter): that is where an exec is refused.
 * sched_process_exec runs when the new image is in place and before its first
 * instruction: there the process becomes what it now is, the event is told
 * with its arguments, and where nothing can refuse, or a rule is about the
 * arguments, SIGKILL is the last word.
 */
#ifndef BAILIFF_EXEC_H
#define BAILIFF_EXEC_H

#define EXEC_DATA (5 * 4096)

struct exec_scratch {
	struct record r;
	char data[EXEC_DATA];
};

/* Tracepoint programs run with preemption off: one buffer a CPU is enough. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_scratch);
} exec_scratch SEC(".maps");

/* Before: refuse, or note the verdict for when the exec has succeeded. */
static __always_inline int exec_check(struct linux_binprm *bprm)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct judgement j = {};
	struct object_ref o = {};
	struct proc *p = current_proc(t);
	struct dentry *d;
	struct inode *inode;
	__u32 exe;
	int v;

	d = bprm->file->f_path.dentry;
	inode = bprm->file->f_inode;
	if (settings.digests && digest_begin(bprm, inode))
		return 0;
	if (!p || !(p->flags & PROC_SCOPE))
		return 0;
	p->pending.renames = renames_now();
	exe = intern_exe(d, inode);
	p->exec_inode = (__u64)inode;
	p->exec_mm = (__u64)bprm->mm;
	p->pending.caps = effective_caps(t->cred);
	p->pending.euid = t->cred->euid.val;
	p->pending.egid = t->cred->egid.val;
	if (settings.commit & COMMIT_LATE)
		commit_round(bprm->interp == bprm->filename);
	if (settings.commit & COMMIT_GIVEN && bprm->interp == bprm->filename)
		given_round();
	if (bprm->interp == bprm->filename) {
		p->pending.valid = 0;
		p->pending.rate = cgroup_rate(p->cgroup, HOOK_EXEC - 1);
		p->pending.script_exe = 0;
		p->pending.last_exe = exe;
	} else {
		/* A later round: what was judged before was a script. */
		if (!p->pending.script_exe)
			p->pending.script_exe = p->pending.last_exe;
		p->pending.last_exe = exe;
	}
	o.rate = p->pending.rate;
	v = judge(&j, t, p, &o, d, inode, HOOK_EXEC);
	p->pending.class = o.place.path;
	p->pending.class_gen = j.generation;
	p->pending.last_digest.known = 0;
	if (settings.digests)
		digest_end(&p->pending.last_digest);
	if (o.late)
		commit_note(p, &o, exe, j.generation);
	if (bprm->interp == bprm->filename)
		p->pending.bindings = j.bindings;
	else if (p->pending.bindings != j.bindings)
		p->pending.bindings |= 1;
	if (!v)
		return 0;
	if (j.blocks) {
		count(COUNT_DENIED);
		j.hook = HOOK_EXEC;
		j.effect = EFFECT_REFUSED;
		emit_file(p, &j, &o, d, inode);
		if (j.kills)
			bpf_send_signal(SIGKILL);
		return -EPERM;
	}
	if (!p->pending.valid || j.verdict > p->pending.j.verdict) {
		p->pending.j = j;
		p->pending.valid = 1;
		p->pending.judged_exe = exe;
		p->pending.age = o.age;
		p->pending.digest.known = 0;
		if (settings.digests)
			__builtin_memcpy(&p->pending.digest, &p->pending.last_digest,
					 sizeof(p->pending.digest));
		file_facts_near(&p->pending.file, d, inode);
	}
	return 0;
}

static __always_inline __u32 append_path(struct exec_scratch *e, __u32 off, struct dentry *d,
					 __u32 *cut)
{
	__u32 len;

	if (off > EXEC_DATA - PATH_ROOM)
		return off;
	len = copy_path(e->data + off, d, cut);
	/* Through memory, so that the verifier forgets what it knows of the sum. */
	*(volatile __u16 *)&e->r.file.scratch = off + (len & 0x1fff);
	off = *(volatile __u16 *)&e->r.file.scratch;
	e->r.file.scratch = 0;
	return off;
}

#define SHORT_TEXT 64

/* Copies a text of the kernel's, with its NUL, and returns its bytes; there must be room for
 * PATH_BYTES. A short one by words: the helper for texts goes byte by byte. What is
 * read behind its end is not told. */
static __always_inline long copy_text(char *to, const char *from)
{
	__u64 *w = (__u64 *)to, zero;

	if (!bpf_probe_read_kernel(to, SHORT_TEXT, from)) {
#pragma unroll
		for (int i = 0; i < SHORT_TEXT / 8; i++) {
			zero = (w[i] - 0x0101010101010101) & ~w[i] & 0x8080808080808080;
			if (zero)
				return 8 * i + lowest_bit(zero) / 8 + 1;
		}
	}
	return bpf_probe_read_kernel_str(to, PATH_BYTES, from);
}

static __always_inline __u32 append_verity(struct exec_scratch *e, __u32 off,
					   const struct digest *d)
{
	if (!(d->known & 1 << DIGEST_VERITY) || off > EXEC_DATA - PATH_ROOM)
		return off;
	e->r.flags |= RECORD_VERITY;
	if (!d->verity.of || bpf_probe_read_kernel(e->data + off, sizeof(d->verity), &d->verity))
		return off;
	e->r.verity_off = off;
	e->r.verity_len = sizeof(d->verity);
	return off + sizeof(d->verity);
}

static __always_inline void fill_strings(struct exec_scratch *e, __u32 off, struct mm_struct *mm,
					 struct linux_binprm *bprm)
{
	unsigned long from = mm->arg_start, bytes = mm->arg_end - mm->arg_start, len;
	long n;

	e->r.args_total = bytes;
	len = bytes;
	if (len > ARG_BYTES) {
		len = ARG_BYTES;
		e->r.flags |= RECORD_ARGS_CUT;
	}
	if (off <= EXEC_DATA - ARG_BYTES && len > 0 && len <= ARG_BYTES &&
	    !bpf_probe_read_user(e->data + off, len, (void *)from)) {
		e->r.args_off = off;
		e->r.args_len = len;
		off += len;
	}
	if (settings.want_env) {
		from = mm->env_start;
		len = mm->env_end - mm->env_start;
		if (len > ARG_BYTES) {
			len = ARG_BYTES;
			e->r.flags |= RECORD_ENV_CUT;
		}
		if (off <= EXEC_DATA - ARG_BYTES && len > 0 && len <= ARG_BYTES &&
		    !bpf_probe_read_user(e->data + off, len, (void *)from)) {
			e->r.env_off = off;
			e->r.env_len = len;
			off += len;
		}
	}
	if (off <= EXEC_DATA - PATH_BYTES) {
		n = copy_text(e->data + off, bprm->filename);
		if (n > 0 && n <= PATH_BYTES) {
			e->r.opened_off = off;
			e->r.opened_len = n;
			off += n;
		}
	}
	/* The compiler knows that off is small and would leave the mask out; the
   * verifiers of 6.1 and 6.12 have forgotten it by now. */
	asm volatile("" : "+r"(off));
	off &= 0x7fff;
	if (off > EXEC_DATA)
		off = EXEC_DATA;
	if (bpf_ringbuf_output(&events, e, sizeof(e->r) + off, wakeup(e->r.verdict, e->r.time)))
		count(COUNT_DROP_EXEC);
	else
		count(COUNT_EXEC);
}

static __noinline int emit_exec(struct proc *p, struct judgement *j, struct linux_binprm *bprm,
				__u64 new_id)
{
	struct task_struct *t = bpf_get_current_task_btf();
	struct dentry *d = bprm->file->f_path.dentry;
	__u32 zero = 0, off, cut = 0, ignored;
	const struct digest *digest = &p->pending.last_digest;
	struct exec_scratch *e;

	e = bpf_map_lookup_elem(&exec_scratch, &zero);
	if (!e || !t->mm)
		return 0;
	__builtin_memset(&e->r, 0, sizeof(e->r));
	e->r.time = bpf_ktime_get_boot_ns();
	fill_subject(&e->r.subject, p);
	fill_decision(&e->r, j);
	e->r.hook = HOOK_EXEC;
	/* The credentials of the caller are gone, these are the new image's; of what an
	 * exec can change of them the exec hook has seen the caller's. */
	e->r.fork_flags = e->r.subject.caps;
	e->r.child = e->r.subject.euid;
	e->r.exit_code = e->r.subject.egid;
	if (p->exec_mm && p->exec_mm == (__u64)t->mm) {
		e->r.subject.caps = p->pending.caps;
		e->r.subject.euid = p->pending.euid;
		e->r.subject.egid = p->pending.egid;
	}
	e->r.new_exec_id = new_id;
	copy_comm(e->r.comm, t);
	e->r.stdio = stdio_bits();
	e->r.cgroup_rate = p->pending.rate;
	e->r.file_age =
		p->pending.age ? p->pending.age - 1 : file_age_near(bprm->file->f_inode, e->r.time);
	file_facts_near(&e->r.file, d, bprm->file->f_inode);
	off = append_path(e, 0, d, &cut);
	e->r.file.path_len = off;
	e->r.file.unresolved = cut;
	e->r.cwd_off = off;
	off = append_path(e, off, t->fs->pwd.dentry, &ignored);
	e->r.cwd_len = off - e->r.cwd_off;
	e->r.cwd_dev = t->fs->pwd.dentry->d_inode->i_sb->s_dev;
	e->r.script_exe = p->pending.script_exe;
	if (p->pending.valid && j->flags & RECORD_MATCHED && p->pending.judged_exe &&
	    p->pending.judged_exe != p->pending.last_exe) {
		/* The verdict is about the script: the record's file is what was judged. */
		e->r.interp_len = e->r.file.path_len;
		e->r.interp_dev = e->r.file.id.dev;
		bpf_probe_read_kernel(&e->r.file, sizeof(e->r.file), &p->pending.file);
		e->r.file.path_len = 0;
		e->r.file.exe_id = p->pending.judged_exe;
		digest = &p->pending.digest;
	}
	if (digest->known) {
		fill_digest(&e->r, digest);
		off = append_verity(e, off, digest);
	}
	fill_strings(e, off, t->mm, bprm);
	return 0;
}

/* The process is the new image from here on. A function of its own for the
 * sake of the stack: kernels before 6.13 add up the frames of a call chain. */
static __noinline int become(struct task_struct *t, struct proc *p, struct dentry *d,
			     struct inode *inode, __u32 exe)
{
	__u32 generation = settings.generation, staging = settings.staging;

	p->pending.valid = 0;
	p->pending.script_exe = 0;
	p->pending.bindings = 0;
	p->pending.last_digest.known = 0;
	p->exec_mm = 0;
	push_ancestor(p, p->exe_id);
	p->exe_id = exe;
	forget_vectors(p);
	p->class_gen = 0;
	take_pass(t);
	if (is_rescue(t, inode))
		p->flags |= PROC_RESCUE;
	else
		p->flags &= ~PROC_RESCUE;
	if (generation) {
		classify_exe(exe, d, inode, generation, &p->class,
			     p->pending.class_gen == generation ? p->pending.class : 0);
		p->class_gen = generation;
	}
	if (staging && staging != generation) {
		struct exe_class ahead;

		classify_exe(exe, d, inode, staging, &ahead, 0);
	}
	return 0;
}

/* The number that the exec hook found for this program, if its place is still the
 * same; 0 if that is not sure. */
static __always_inline __u32 known_exe(struct task_struct *t, struct proc *p, struct inode *inode)
{
	if (!p->exec_mm || p->exec_mm != (__u64)t->mm || p->exec_inode != (__u64)inode)
		return 0;
	return renames_now() == p->pending.renames && !(p->pending.renames & 1)
		       ? p->pending.last_exe
		       : 0;
}

/* After: the last word, then the process becomes the new image. */
static __always_inline int exec_done(struct task_struct *t, struct linux_binprm *bprm)
{
	struct dentry *d = bprm->file->f_path.dentry;
	struct inode *inode = bprm->file->f_inode;
	__u32 exe;
	struct object_ref o = {};
	struct judgement *j;
	struct proc *p;
	__u64 id;

	p = bpf_task_storage_get(&procs, t, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!p) {
		count(COUNT_FAIL_OPEN_CONTEXT);
		return 0;
	}
	if (!p->exec_id) {
		seed_current();
		if (!p->exec_id)
			return 0;
	}
	if (!(p->flags & PROC_SCOPE) && under_scope(t))
		p->flags |= PROC_SCOPE;
	id = new_exec_id();
	exe = known_exe(t, p, inode);
	/* Paths may have been bound anew since the hook: what class it has is asked again. */
	if (!exe || p->pending.bindings & 1 || p->pending.bindings != settings.bindings)
		p->pending.class_gen = 0;
	if (!exe)
		exe = intern_exe(d, inode);
	if (p->flags & PROC_SCOPE) {
		j = &p->pending.j; /* the stack is full below here */
		if (!p->pending.valid) {
			__builtin_memset(j, 0, sizeof(*j));
			p->pending.age = 0;
		}
		if (can_refuse) {
			j->bindings = p->pending.bindings;
		} else {
			p->pending.rate = o.rate = cgroup_rate(p->cgroup, HOOK_EXEC - 1);
			if (settings.commit & COMMIT_GIVEN)
				given_round();
			if (judge(j, t, p, &o, d, inode, HOOK_EXEC))
				j->flags |= RECORD_COMMIT;
			if (o.late)
				commit_note(p, &o, exe, j->generation);
			p->pending.age = o.age;
		}
		if (settings.commit & COMMIT_GIVEN && !j->blocks &&
		    given_another(p->pending.script_exe))
			commit_given(p);
		if (settings.commit & COMMIT_LATE && !j->blocks &&
		    commit_find(bprm->argc, commit_texts()))
			commit_check(p);
		if (j->blocks && !bpf_send_signal(SIGKILL)) {
			j->effect = EFFECT_KILLED;
			count(COUNT_DENIED);
			count(COUNT_KILLED);
		}
		emit_exec(p, j, bprm, id);
		if (j->effect != EFFECT_KILLED) /* what can be refused is not counted either */
			cgroup_tick(p->cgroup, HOOK_EXEC - 1);
	}
	p->exec_id = id;
	become(t, p, d, inode, exe);
	return 0;
}

#endif
