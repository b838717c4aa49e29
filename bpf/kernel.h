/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel state Bailiff reads, and nothing else (CO-RE relocated). */
#ifndef BAILIFF_KERNEL_H
#define BAILIFF_KERNEL_H
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

typedef struct {
	__u32 val;
} kuid_t;
typedef struct {
	__u32 val;
} kgid_t;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct qstr {
	__u32 hash;
	__u32 len;
	const unsigned char *name;
};
struct file_system_type {
	const char *name;
};
struct super_block {
	__u32 s_dev;
	unsigned long s_flags;
	unsigned long s_magic;
	struct file_system_type *s_type;
	struct dentry *s_root;
};
struct inode {
	unsigned short i_mode;
	kuid_t i_uid;
	kgid_t i_gid;
	unsigned int i_nlink;
	unsigned long i_ino;
	struct super_block *i_sb;
	__u32 i_generation;
	__s64 i_size;
	struct {
		__s64 counter;
	} i_version;
	struct {
		int counter;
	} i_writecount; /* writers; negative: so many keep them out */
	void *i_private;
};
struct shmem_inode_info {
	unsigned int seals;
	struct inode vfs_inode;
};
/* The change time: from 6.11 on, from 6.6 on, before. */
struct timespec64 {
	__s64 tv_sec;
	long tv_nsec;
};
struct inode___611 {
	__s64 i_ctime_sec;
	__u32 i_ctime_nsec;
};
struct inode___66 {
	struct timespec64 __i_ctime;
};
struct inode___61 {
	struct timespec64 i_ctime;
};
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct super_block *d_sb;
	unsigned char d_iname[32]; /* of more bytes in some kernels; not in 6.14 and later */
};
struct vfsmount {
	struct dentry *mnt_root;
};
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};
struct file {
	struct path f_path;
	struct inode *f_inode;
	unsigned int f_flags;
	unsigned int f_mode;
	void *private_data;
};
struct sock_common {
	unsigned short skc_family;
	unsigned char skc_state;
};
struct sock {
	struct sock_common __sk_common;
};
struct socket {
	struct sock *sk;
};
struct vm_area_struct {
	unsigned long vm_flags;
	struct file *vm_file;
};
struct linux_binprm {
	struct file *executable;
	struct file *file;
	struct mm_struct *mm;
	const char *filename;
	const char *interp;
	int argc;
};
struct mm_struct {
	struct file *exe_file;
	unsigned long arg_start;
	unsigned long arg_end;
	unsigned long env_start;
	unsigned long env_end;
};
struct ns_common {
	unsigned int inum;
};
struct user_namespace {
	struct ns_common ns;
};
struct mnt_namespace {
	struct ns_common ns;
};
struct pid_namespace {
	struct ns_common ns;
};
struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct pid_namespace *pid_ns_for_children;
};
typedef struct {
	__u64 val;
} kernel_cap_t;
struct cred {
	kuid_t uid;
	kgid_t gid;
	kuid_t euid;
	kgid_t egid;
	kernel_cap_t cap_effective;
	struct user_namespace *user_ns;
};
struct fs_struct {
	struct path root;
	struct path pwd;
};
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
	unsigned long *close_on_exec;
};
struct files_struct {
	struct fdtable *fdt;
};
struct tty_driver {
	int major;
	int minor_start;
};
struct tty_struct {
	struct tty_driver *driver;
	int index;
};
typedef struct {
	int counter;
} atomic_t;
struct seqcount {
	unsigned int sequence;
};
struct list_head {
	struct list_head *next;
};
struct signal_struct {
	struct list_head thread_head;
	atomic_t live;
	int group_exit_code;
	struct tty_struct *tty;
};
struct kernfs_node {
	const char *name;
	__u64 id;
};
struct cgroup_root {
	int hierarchy_id;
};
struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_root *root;
	int level;
	struct cgroup *ancestors[];
};
struct css_set {
	struct cgroup *dfl_cgrp;
};
struct hlist_node {
	struct hlist_node *next;
};
struct hlist_head {
	struct hlist_node *first;
};
struct pid {
	struct hlist_head tasks[1]; /* by kind; the first are threads */
};
struct task_struct {
	struct hlist_node pid_links[1]; /* in the lists of its pid, by kind */
	struct list_head thread_node;	/* in thread_head */
	int pid;
	int tgid;
	int exit_code;
	unsigned int flags;
	__u64 start_boottime;
	char comm[16];
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	const struct cred *cred;
	const struct cred *real_cred;
	struct mm_struct *mm;
	unsigned int personality;
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	struct css_set *cgroups;
	kuid_t loginuid;
};
/* Kernels before 6.3 keep capabilities as two words. */
struct kernel_cap___old {
	__u32 cap[2];
};
struct cred___old {
	struct kernel_cap___old cap_effective;
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};
#pragma clang attribute pop

/* From 6.2 on, for programs that may sleep. */
extern void bpf_rcu_read_lock(void) __attribute__((section(".ksyms"), weak));
extern void bpf_rcu_read_unlock(void) __attribute__((section(".ksyms"), weak));

/* From 6.2 on: an address as a pointer that is read in place, without a call. */
extern void *bpf_rdonly_cast(const void *obj, __u32 type) __attribute__((section(".ksyms"), weak));

/* From 6.8 on, with CONFIG_FS_VERITY, for LSM programs. */
extern int bpf_get_fsverity_digest(struct file *file, struct bpf_dynptr *to)
	__attribute__((section(".ksyms"), weak));

/* What the tracepoints sys_exit_* give. */
struct sys_exit {
	__u64 common;
	__s32 nr;
	__u32 pad;
	__s64 ret;
};

#define PF_KTHREAD	0x00200000
#define F_SEAL_WRITE	8
#define SB_KERNMOUNT	(1 << 22)
#define TMPFS_MAGIC	0x01021994
#define HUGETLBFS_MAGIC 0x958458f6
#define OVERLAYFS_MAGIC 0x794c7630
#define SOCKFS_MAGIC	0x534f434b
#define EXT4_MAGIC	0xef53
#define XFS_MAGIC	0x58465342
#define F2FS_MAGIC	0xf2f52010
#define BTRFS_MAGIC	0x9123683e
#define SQUASHFS_MAGIC	0x73717368
#define EROFS_MAGIC	0xe0f5e1e2
#define ISOFS_MAGIC	0x9660
#define S_IFMT		0170000
#define S_IFREG		0100000
#define S_IFDIR		0040000
#define S_IFLNK		0120000
#define S_IFSOCK	0140000
#define S_ISUID		04000
#define S_ISGID		02000
#define S_IWOTH		02
#define FMODE_READ	1
#define FMODE_WRITE	2
#define FMODE_PATH	0x4000
#define O_CREAT		00000100
#define O_EXCL		00000200
#define O_TRUNC		00001000
#define O_APPEND	00002000
#define O_DIRECTORY	00200000
#define CLONE_THREAD	0x00010000
#define AF_UNIX		1
#define TCP_LISTEN	10
#define PROT_READ	1
#define PROT_EXEC	4
#define VM_EXEC		4
#define SIGKILL		9
#define EPERM		1
#define ENODATA		61
/* For pointers that may be NULL though the verifier believes that they never are:
 * arguments of LSM programs (the file of an anonymous mapping) and members of
 * trusted pointers (the inode of a name that is not made yet). It takes a
 * comparison with zero as decided, removes it, and the load behind it is one
 * without a net: an oops. This comparison it leaves alone. */
#define is_null(p) ((unsigned long)(p) < 4096)

#endif
