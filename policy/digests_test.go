package policy

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/lower"
)

// TestNoDigests: who knows the kernel is asked once rules mention digests, and
// not before; then they are held as ever.
func TestNoDigests(t *testing.T) {
	const reads, verity, other = `input.file.sha256 in data.bad`, `input.file.verity in data.sealed`, `input.file.name in data.bad`
	const both = reads + "\n" + verity
	for _, tt := range []struct {
		condition string
		none      []string
		class     lower.Class
		asked     []string
	}{
		{reads, nil, lower.ClassKernel, []string{"file.sha256"}},
		{reads, []string{"file.sha256"}, lower.ClassHeld, []string{"file.sha256"}},
		{reads, []string{"file.verity"}, lower.ClassKernel, []string{"file.sha256"}},
		// The digests in the list name the other one, too.
		{verity, nil, lower.ClassKernel, event.OnlyAtGate},
		{verity, []string{"file.verity"}, lower.ClassHeld, event.OnlyAtGate},
		{both, []string{"file.verity"}, lower.ClassHeld, event.OnlyAtGate},
		{other, event.OnlyAtGate, lower.ClassKernel, nil},
	} {
		data := `{"bad": ["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]}`
		if strings.Contains(tt.condition, "sealed") {
			data = `{"bad": ["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"], "sealed": ["sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]}`
		}
		var asked []string
		o := Options{NoDigests: func(field string) bool {
			asked = append(asked, field)
			return slices.Contains(tt.none, field)
		}}
		p, r, err := LoadFS(t.Context(), fstest.MapFS{
			"x.rego":    {Data: []byte("package bailiff.exec\n\n# METADATA\n# custom: {id: x, undecided: hold}\ndeny contains \"bad\" if {\n" + tt.condition + "\n}\n")},
			"data.json": {Data: []byte(data)},
		}, o)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Warnings) > 0 {
			t.Errorf("%s, not known: %v: %v", tt.condition, tt.none, r.Warnings)
		}
		if class := p.Explain()[0].Class; class != tt.class || !slices.Equal(asked, tt.asked) {
			t.Errorf("%s, not known: %v: %v after %v was asked, want %v after %v", tt.condition, tt.none, class, asked, tt.class, tt.asked)
		}
		p.Close(t.Context())
	}
}
