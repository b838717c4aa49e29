/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is told of a file, and the numbers that programs have. */
#ifndef BAILIFF_FILES_H
#define BAILIFF_FILES_H

static const struct exe_info no_exe;

/* An overlay's inode is followed by the dentry of the upper layer, if it has
 * one; so it has been since 4.19. The module that knows its own type may not be
 * loaded, but the size of what comes before is known. */
static __always_inline bool in_upper_layer(struct inode *inode)
{
	__u64 upper = 0;

	bpf_probe_read_kernel(&upper, sizeof(upper),
			      (void *)((__u64)inode + bpf_core_type_size(struct inode)));
	return upper != 0;
}

/* The bits of input.file.traits, in the order of event.Traits. */
static __always_inline __u32 traits_of(struct inode *inode, __u64 magic, __u64 sb_flags, __u32 mode,
				       __u32 nlink, __u32 dir_mode)
{
	__u32 traits = 0;

	if ((magic == TMPFS_MAGIC || magic == HUGETLBFS_MAGIC) && sb_flags & SB_KERNMOUNT)
		traits |= 1;
	if (nlink == 0 && inode) /* not made yet is not unlinked */
		traits |= 2;
	if ((mode & S_IFMT) != S_IFDIR) {
		if (mode & S_ISUID)
			traits |= 4;
		if (mode & S_ISGID)
			traits |= 8;
	}
	if (mode & S_IWOTH && (mode & S_IFMT) != S_IFLNK)
		traits |= 16;
	if (dir_mode & S_IWOTH)
		traits |= 32;
	if (magic == OVERLAYFS_MAGIC && in_upper_layer(inode))
		traits |= 64;
	return traits;
}

/* Facts of a file for a record; path_* and exe_id are left to the caller. Of a
 * name that is about to be made there is no inode: its facts are zero. Not in
 * line: the reads take room on the stack. */
static __noinline int file_facts(struct wire_file *f, struct dentry *d, struct inode *inode)
{
	struct inode *dir = BPF_CORE_READ(d, d_parent, d_inode);
	struct super_block *sb = BPF_CORE_READ(d, d_sb);
	__u64 magic = BPF_CORE_READ(sb, s_magic);

	f->id.dev = BPF_CORE_READ(sb, s_dev);
	f->id.gen = BPF_CORE_READ(inode, i_generation);
	f->id.ino = BPF_CORE_READ(inode, i_ino);
	f->dir.dev = BPF_CORE_READ(dir, i_sb, s_dev);
	f->dir.gen = BPF_CORE_READ(dir, i_generation);
	f->dir.ino = BPF_CORE_READ(dir, i_ino);
	f->mode = BPF_CORE_READ(inode, i_mode);
	f->uid = BPF_CORE_READ(inode, i_uid.val);
	f->gid = BPF_CORE_READ(inode, i_gid.val);
	f->nlink = BPF_CORE_READ(inode, i_nlink);
	f->dir_mode = BPF_CORE_READ(dir, i_mode);
	f->dir_uid = BPF_CORE_READ(dir, i_uid.val);
	f->fs_magic = magic;
	bpf_probe_read_kernel_str(f->fs_type, sizeof(f->fs_type), BPF_CORE_READ(sb, s_type, name));
	f->traits =
		traits_of(inode, magic, BPF_CORE_READ(sb, s_flags), f->mode, f->nlink, f->dir_mode);
	return 0;
}

/* The same without the filesystem's name, of a file that the program has as a
 * typed pointer, in a directory whose identity it has: plain loads. */
static __always_inline void file_numbers_near(struct wire_file *f, const struct file_id *dir_id,
					      struct inode *dir, struct inode *inode)
{
	struct super_block *sb = inode->i_sb;
	__u64 magic = sb->s_magic;
	__u32 dir_mode = dir->i_mode;

	f->id.dev = sb->s_dev;
	f->id.gen = inode->i_generation;
	f->id.ino = inode->i_ino;
	f->dir = *dir_id;
	f->mode = inode->i_mode;
	f->uid = inode->i_uid.val;
	f->gid = inode->i_gid.val;
	f->nlink = inode->i_nlink;
	f->dir_mode = dir_mode;
	f->dir_uid = dir->i_uid.val;
	f->fs_magic = magic;
	f->traits = traits_of(inode, magic, sb->s_flags, f->mode, f->nlink, dir_mode);
}

static __always_inline void file_facts_near(struct wire_file *f, struct dentry *d,
					    struct inode *inode)
{
	struct inode *dir = d->d_parent->d_inode;
	struct file_id id;

	id_of(&id, dir);
	file_numbers_near(f, &id, dir, inode);
	bpf_probe_read_kernel_str(f->fs_type, sizeof(f->fs_type), inode->i_sb->s_type->name);
}

/* Pointers as numbers, for functions that are verified alone. */
struct file_at {
	__u64 dentry;
	__u64 inode;
};

/* A number for a program, with what is to be known of it. Once for each program:
 * every read costs a call, for the sake of the verifier. */
__noinline __u32 new_exe(const struct file_at *at)
{
	struct exe_info *info;
	__u32 id;

	if (!at)
		return 0;
	id = __sync_fetch_and_add(&last_exe, 1) + 1;
	if (bpf_map_update_elem(&exe_infos, &id, &no_exe, BPF_NOEXIST)) {
		count(COUNT_EXE_TABLE_FULL);
		return 0;
	}
	info = bpf_map_lookup_elem(&exe_infos, &id);
	if (!info)
		return 0;
	file_facts(&info->file, (void *)at->dentry, (void *)at->inode);
	info->path_len = copy_exe_path(info->path, at->dentry, &info->file.unresolved);
	info->file.exe_id = id;
	return id;
}

/* The number of a program: the file and the place where it was found. 0 if the
 * table is full. */
static __noinline __u32 intern_exe(struct dentry *d, struct inode *inode)
{
	struct exe_key k = {};
	struct file_at at;
	__u32 *known, id;

	id_of(&k.id, inode);
	id_of(&k.dir, d->d_parent->d_inode);
	bpf_probe_read_kernel_str(k.name, sizeof(k.name), d->d_name.name);
	known = bpf_map_lookup_elem(&exe_ids, &k);
	if (known)
		return *known;
	at.dentry = (__u64)d;
	at.inode = (__u64)inode;
	id = new_exe(&at);
	if (id && bpf_map_update_elem(&exe_ids, &k, &id, BPF_NOEXIST)) {
		/* Another CPU was faster: use its number. */
		bpf_map_delete_elem(&exe_infos, &id);
		known = bpf_map_lookup_elem(&exe_ids, &k);
		return known ? *known : 0;
	}
	return id;
}

#endif
