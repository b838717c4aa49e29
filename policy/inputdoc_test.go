package policy

import (
	"bytes"
	"fmt"
	"os"
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
- **hooks**: where the field can be other than zero.
- **in the kernel**: the tests that kernel tables make on the field. Any other test of it, and any test of a field that has
  *no*, is left to OPA in user space; docs/lowering.md says what that means.
- **trust**: *process* means that the process itself can write anything there. A deny rule that rests on such fields alone
  is warned about.

An object may have several canonical names (hard links and directory aliases that the policy names). A rule that the kernel
decides whole takes a test as met if it is met under any of the names, and a negated test only if it is met under none. A
rule with a part for OPA is asked under each choice of names.

A rule is a member of ` + "`deny` or `alert` in `bailiff.exec`, `bailiff.open` or `bailiff.fork`" + `. Deny overrides alert; if no rule
fires, the act is allowed. The head may be a string or an object with ` + "`message`" + `. Annotations of rule scope say more:

| annotation | values | meaning |
| --- | --- | --- |
| ` + "`title`" + ` | text | what people read |
| ` + "`custom.id`" + ` | name | stable name in events; default: package, set, file and line |
| ` + "`custom.severity`" + ` | info, low, medium, high, critical | for the SIEM |
| ` + "`custom.attack`" + ` | list | ATT&CK technique ids |
| ` + "`custom.mode`" + ` | enforce (default), audit | audit: a deny that never blocks |
| ` + "`custom.response`" + ` | refuse (default), kill | kill: the offender is killed besides |
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
		var hooks []string
		for _, h := range f.Hooks {
			hooks = append(hooks, h.String())
		}
		trust := "kernel"
		if f.Trust == event.TrustProcess {
			trust = "process"
		}
		fmt.Fprintf(&b, "| `input.%s` | %s | %s | %s | %s | %s |\n", f.Path, kindName(f.Kind), strings.Join(hooks, ", "), kernelTests(f, target), trust, f.Doc)
	}
	b.WriteString("\n## Names of flags\n")
	for _, f := range event.Fields {
		if f.Kind == event.KindFlags {
			fmt.Fprintf(&b, "\n`input.%s`: %s.\n", f.Path, strings.Join(f.Bits, ", "))
		}
	}
	return b.Bytes()
}

func kindName(k event.Kind) string {
	return []string{"string", "path", "number", "flags", "list of paths", "list of strings", "object of strings"}[k]
}

func kernelTests(f event.Field, t lower.Target) string {
	if f.Path == "hook" {
		return "constant"
	}
	if f.ID == event.FieldNone || f.Part == event.PartUser {
		return "no"
	}
	words := map[ir.Op]string{ir.OpIn: "`==` `in`", ir.OpPrefix: "startswith a directory", ir.OpSuffix: "endswith",
		ir.OpLess: "`<` `<=` `>` `>=`", ir.OpMaskEq: "bits.and", ir.OpSame: "`==` of two"}
	if f.Kind == event.KindFlags {
		return "membership"
	}
	var out []string
	for _, op := range t.Ops[f.Kind] {
		if words[op] != "" {
			out = append(out, words[op])
		}
	}
	return strings.Join(out, ", ")
}
