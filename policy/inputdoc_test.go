package policy

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
	"example.com/bailiff/policy/lower"
)

//go:generate go test . -run TestInputDoc -update

// TestInputDoc keeps docs/input.md equal to the field table; -update writes it.
func TestInputDoc(t *testing.T) {
	const file = "../docs/input.md"
	got := inputDoc()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s differs from the field table (go generate ./policy writes it) %v", file, err)
	}
}

const inputIntro = `# The input document

<!-- Generated from internal/event/fields.go by go generate ./policy. -->

Rules see one act as ` + "`input`" + `. The document is total: every field is always there, for every hook, with a zero value
(` + "`\"\"`, `0`, `[]`, `{}`" + `) where it does not apply. So a rule never changes its meaning because a field is missing, and a
field that does not exist is an error when the bundle is loaded, with its place and the nearest name.

- **type**: *path* is a canonical path: absolute and clean, resolved by the identity of the file, whatever name was used to
  reach it. A file that cannot be reached from the agent's mount namespace, such as a memfd, has ` + "`[major:minor]/rest`" + `,
  which never begins with ` + "`/`" + `. *flags* is a list out of a closed set of names; a name outside the set is a load error.
- **hooks**: in which packages the field can be other than zero; *(not ...)* names acts that the package judges and the field is
  zero for.
- **in the kernel**: the tests that kernel tables make on the field. Any other test of it, and any test of a field that has
  *no*, is left to OPA in user space; docs/lowering.md says what that means.
  *commit* means that they are made when the new image is in place, before its first instruction.
- **trust**: *process* means that the process itself can write anything there. A deny rule that rests on such fields alone
  is warned about.

An object may have several canonical names (hard links and directory aliases that the policy names). A rule that the kernel
decides whole takes a test as met if it is met under any of the names, and a negated test only if it is met under none. A
rule with a part for OPA is asked under each choice of names. The same holds for each ancestor: it passes a test if one of its names does,
and only where none does is there an ancestor that does not pass.

A rule is a member of ` + "`deny` or `alert` in `bailiff.exec`, `bailiff.open` or `bailiff.fork`" + `. Deny overrides alert; if no rule
fires, the act is allowed. The head may be a string or an object with ` + "`message`" + `.

Rules in ` + "`bailiff.exec`" + ` also judge what runs a program without executing it: a file that is mapped executable (` + "`input.hook` is `mmap`" + `),
which is what the loader does when it is called directly, dlopen, and a library that is preloaded. A rule judges that if each way
in which it can hold names the file (` + "`input.file.path` or `input.file.name`" + ` equal to, in, below or ending in something). A rule that
does not, such as one that denies what is *not* on a list or whatever a certain program runs, would hold for every library: it judges execs only.

Rules in ` + "`bailiff.open`" + ` also judge what changes a file or its name without an open: ` + "`input.hook` is `create`" + ` (a name is made: by the open of a file that
is not there, mknod, symlink), ` + "`link`, `rename`, `unlink` or `truncate`" + `, and ` + "`input.open.flags`" + ` has *write*, so that a rule that denies to open a
file for writing denies these too. Both names of a rename and of a link are judged, one after the other: the one that is left or linked
(*write*; *read*, too, if linked), and the one that is made or taken over (*write*, *create*). Of a name that does not exist yet only path, name, filesystem and
directory are known. A rule that is about opens alone says ` + "`input.hook == \"open\"`" + `.

They judge who takes an open file from another process (SCM_RIGHTS over a socket, pidfd_getfd, a seccomp supervisor): ` + "`input.hook`" + ` is
` + "`receive`" + `, the process is the one that gets it, and ` + "`input.open.flags`" + ` says how the file was opened, so that a rule that denies to read a file
denies to be given it for reading. What no open leads to (sockets, pipes, files in memory) is not judged.

They judge who attaches to a process, too: ` + "`input.hook`" + ` is ` + "`ptrace`" + `, ` + "`input.file`" + ` is the program that the process runs, ` + "`input.open.flags`" + ` is
empty, and ` + "`input.target`" + ` says more of it. ptrace asks for that, and so do opens of ` + "`/proc/PID/mem`" + `, process_vm_readv and process_vm_writev,
and pidfd_getfd; looking at other files of /proc does not, nor does a process that looks at itself. A rule about nothing else says
` + "`input.hook == \"ptrace\"`" + `.

The annotation ` + "`custom.hooks`" + ` says outright which acts a rule judges, and ` + "`bailiff explain`" + ` shows which they are. The tracepoint backend
sees none of these, nor mappings.

Annotations of rule scope say more:

| annotation | values | meaning |
| --- | --- | --- |
| ` + "`title`" + ` | text | what people read |
| ` + "`custom.id`" + ` | name | stable name in events; default: package, set, file and line |
| ` + "`custom.severity`" + ` | info, low, medium, high, critical | for the SIEM |
| ` + "`custom.attack`" + ` | list | ATT&CK technique ids |
| ` + "`custom.mode`" + ` | enforce (default), audit | audit: a deny that never blocks |
| ` + "`custom.response`" + ` | refuse (default), kill | kill: the offender is killed besides |
| ` + "`custom.hooks`" + ` | list of exec, mmap; or of open, create, link, rename, unlink, truncate, receive, ptrace | which acts the rule judges, if it is not what is said above |
| ` + "`custom.undecided`" + ` | allow (default), deny | what happens while a deferred rule has no verdict |
| ` + "`custom.always`" + ` | true | the rule may fire for every act of its hook |
| ` + "`custom.x-...`" + ` | anything | yours; other keys are warned about |

`

func inputDoc() []byte {
	var b bytes.Buffer
	b.WriteString(inputIntro)
	b.WriteString("| field | type | hooks | in the kernel | trust | meaning |\n| --- | --- | --- | --- | --- | --- |\n")
	target := lower.DefaultTarget()
	for _, f := range event.Fields {
		trust := "kernel"
		if f.Trust == event.TrustProcess {
			trust = "process"
		}
		fmt.Fprintf(&b, "| `input.%s` | %s | %s | %s | %s | %s |\n", f.Path, kindName(f.Kind), hooksOf(f), kernelTests(f, target), trust, f.Doc)
	}
	b.WriteString("\n## Names of flags\n")
	for _, f := range event.Fields {
		if f.Kind == event.KindFlags {
			fmt.Fprintf(&b, "\n`input.%s`: %s.\n", f.Path, strings.Join(f.Bits, ", "))
		}
	}
	b.WriteString(inputNames)
	return b.Bytes()
}

//go:embed testdata/inputnames.md
var inputNames string

// hooksOf lists the packages, and what of one the field is not there for.
func hooksOf(f event.Field) string {
	var out []string
	for _, p := range event.Judged {
		var with, without []string
		for _, h := range p.Hooks() {
			if slices.Contains(f.Hooks, h) {
				with = append(with, h.String())
			} else {
				without = append(without, h.String())
			}
		}
		switch {
		case len(without) == 0:
			out = append(out, p.String())
		case len(with) > 0:
			out = append(out, strings.Join(with, ", ")+" (not "+strings.Join(without, ", ")+")")
		}
	}
	return strings.Join(out, ", ")
}

func kindName(k event.Kind) string {
	return []string{"string", "path", "number", "flags", "list of paths", "list of strings", "object of strings", "names", "name", "digest"}[k]
}

func kernelTests(f event.Field, t lower.Target) string {
	if f.ID == event.FieldNone || f.Part == event.PartUser {
		return "no"
	}
	words := map[ir.Op]string{ir.OpIn: "`==` `in`", ir.OpPrefix: "startswith a directory", ir.OpSuffix: "endswith",
		ir.OpLess: "`<` `<=` `>` `>=`", ir.OpMaskEq: "bits.and", ir.OpSame: "`==` of two"}
	switch {
	case f.Kind == event.KindFlags || f.Kind == event.KindNames:
		return "membership"
	case f.Part == event.PartCommit && len(t.Ops[f.Kind]) == 0:
		return "no"
	case f.Kind == event.KindMap:
		return "*commit*: `==` `in` startswith endswith contains regex.match of a variable, and whether it is there"
	case f.Kind == event.KindList:
		return "*commit*: membership, `==` `in` startswith endswith contains regex.match of any element or one by its index, count"
	}
	var out []string
	for _, op := range t.Ops[f.Kind] {
		if words[op] != "" {
			out = append(out, words[op])
		}
	}
	return strings.Join(out, ", ")
}
