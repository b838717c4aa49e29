package lint

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// anything is for packages that tie the others together.
const anything = "*"

// border is what a package may import of our own, and why not more.
type border struct {
	may []string
	why string
}

// borders has a line for every package: a new one is a decision about the
// shape of the whole, taken here. All ways end in internal/event.
var borders = map[string]border{
	"internal/event":       {nil, "the vocabulary is below everything"},
	"policy/ir":            {[]string{"internal/event"}, "both kernel and engine are defined by it"},
	"policy/automaton":     {nil, "what a text meets is a question of bytes: whoever makes tables of it, or asks whether they will do, may import it"},
	"policy/lower":         {[]string{"internal/event", "policy/automaton", "policy/ir"}, "it knows no kernel, only a target"},
	"policy/source":        {[]string{"policy"}, "it fetches bundles; what is in them is the business of policy"},
	"policy/hostile":       {nil, "it makes bundles for tests, and must not need what is tested"},
	"policy":               {[]string{"internal/event", "policy/ir", "policy/lower"}, "check, explain and test run without a kernel"},
	"bpf":                  {[]string{"internal/event", "policy/automaton", "policy/ir"}, "the kernel side runs programs and knows no Rego"},
	"enforcer":             {[]string{"internal/event", "policy/ir"}, "kernel, engine and ways out are interfaces to it, so that it runs unprivileged in tests"},
	"enforcer/gate":        {[]string{"internal/aside", "internal/event"}, "a gate asks a question and needs no more"},
	"internal/aside":       {nil, "what may not come back can be anything"},
	"internal/canary":      {[]string{"internal/event"}, "it knows the act and the stream by functions"},
	"internal/given":       {[]string{"internal/aside", "internal/event"}, "what a thread gives is read by whoever asks"},
	"internal/digest":      {[]string{"internal/aside"}, "what a file holds has nothing to do with rules"},
	"internal/filter":      {[]string{"internal/event"}, "what people may ask of an event needs no more"},
	"internal/redact":      {[]string{"internal/event"}, "hiding a secret needs no more than the event that it is in"},
	"internal/spool":       {[]string{"internal/event"}, "a log of events needs no more"},
	"internal/rollout":     {[]string{"internal/event"}, "how changes are tried is the same whatever changes"},
	"internal/learn":       {[]string{"internal/event"}, "what it makes is text: whoever writes it knows Rego"},
	"internal/lockout":     {[]string{"internal/event"}, "it asks whoever decides, by an interface of its own"},
	"internal/sink":        {[]string{"internal/event"}, "a way out needs no more"},
	"internal/server":      {[]string{"internal/event", "internal/filter", "proto/bailiff/v1"}, "it serves what the agent says by an interface of its own"},
	"internal/recorded":    {[]string{"internal/event", "internal/server", "internal/spool", "proto/bailiff/v1"}, "it reads what spool and server wrote, by their own code"},
	"internal/report":      {[]string{"internal/event"}, "it counts events"},
	"internal/decisionlog": {[]string{"internal/event"}, "it writes what was decided, and is handed the input document"},
	"internal/lint":        {nil, "rules about the code must not need it to build"},
	"proto/bailiff/v1":     {nil, "it is generated"},
	"rules":                {nil, "it is data"},
	"cmd/bailiff":          {[]string{anything}, "the only wiring"},
	"e2e":                  {[]string{"e2e/guest", "e2e/harness", "internal/event"}, "it drives the binary from outside, as people do"},
	"e2e/demo":             {[]string{"e2e/guest", "e2e/harness", "internal/event"}, "it drives the binary from outside, as people do"},
	"e2e/guest":            {nil, "booting a kernel has nothing to do with what runs in it"},
	"e2e/harness":          {[]string{"internal/event", "proto/bailiff/v1"}, "it reads what the agent prints and streams"},
	"e2e/report":           {nil, "it reads what go test prints"},
}

// TestImports holds the direction of imports. Tests may import what they need:
// three forms of one decision are compared where the kernel is.
func TestImports(t *testing.T) {
	for _, f := range goFiles(t) {
		pkg := f.pkg()
		b, known := borderOf(pkg)
		if !known {
			t.Errorf("%s: package %s has no line in internal/lint/imports_test.go: say what it may import, and why", f.path, pkg)
			continue
		}
		for _, imp := range f.ast.Imports {
			path, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			own, ours := strings.CutPrefix(path, module+"/")
			if !ours || f.isTest() || own == pkg || slices.Contains(b.may, anything) || slices.Contains(b.may, own) {
				continue
			}
			t.Errorf("%s: imports %s; %s may import only %v: %s", f.at(imp), own, pkg, b.may, b.why)
		}
	}
}

// kept names what lies behind a border: a module, and the only packages that
// may know of it, their tests included.
var kept = []struct {
	module string
	homes  []string
	why    string
}{
	{"github.com/cilium/ebpf", []string{"bpf"}, "how the kernel is reached is the business of one package"},
	{"github.com/open-policy-agent/opa", []string{"policy", "policy/lower", "policy/source", "policy/hostile", "cmd/bailiff"}, "what a rule language is, is the business of policy"},
	{"cel.dev/cel-go", []string{"internal/filter"}, "there is one language for filters, and one place that knows it"},
	{"google.golang.org/grpc", []string{"internal/server", "internal/sink/otlp", "proto/bailiff/v1", "cmd/bailiff", "e2e/harness", "docs/examples/go"}, "how the agent is asked is the business of the server; OTLP is another service"},
	{"google.golang.org/protobuf", []string{"internal/server", "internal/recorded", "proto/bailiff/v1", "cmd/bailiff", "e2e/harness", "docs/examples/go"}, "the wire format is the business of the server"},
	{"github.com/spf13/cobra", []string{"cmd/bailiff"}, "commands are for people"},
	{"github.com/goccy/go-yaml", []string{"cmd/bailiff", "policy", "internal/sink"}, "configuration is read in one place"},
	{"log", nil, "hclog is passed in"},
	{"log/slog", nil, "hclog is passed in"},
}

func TestBorders(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imp := range f.ast.Imports {
			path, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range kept {
				behind := path == k.module || strings.HasPrefix(path, k.module+"/") && strings.Contains(k.module, ".")
				if behind && !slices.Contains(k.homes, f.pkg()) {
					t.Errorf("%s: imports %s, which is kept to %v: %s", f.at(imp), path, k.homes, k.why)
				}
			}
		}
	}
}

// TestNoCycleByTable: the table itself must be a graph that ends.
func TestNoCycleByTable(t *testing.T) {
	var visit func(pkg string, seen []string)
	visit = func(pkg string, seen []string) {
		if slices.Contains(seen, pkg) {
			t.Errorf("borders allow a cycle: %v", append(seen, pkg))
			return
		}
		for _, next := range borders[pkg].may {
			if _, known := borders[next]; !known && next != anything {
				t.Errorf("borders of %s name %s, which has no line", pkg, next)
			}
			visit(next, append(slices.Clone(seen), pkg))
		}
	}
	for pkg := range borders {
		visit(pkg, nil)
	}
}
