package policy

import (
	"testing"
	"testing/fstest"

	"example.com/bailiff/policy/lower"
)

// TestNoDigests: who knows the kernel is asked once rules mention digests, and
// not before; then they are held as ever.
func TestNoDigests(t *testing.T) {
	const reads, other = `input.file.sha256 in data.bad`, `input.file.name in data.bad`
	for _, tt := range []struct {
		condition string
		none      bool
		class     lower.Class
		asked     int
	}{
		{reads, false, lower.ClassKernel, 1},
		{reads, true, lower.ClassHeld, 1},
		{other, true, lower.ClassKernel, 0},
	} {
		asked := 0
		o := Options{NoDigests: func() bool { asked++; return tt.none }}
		p, _, err := LoadFS(t.Context(), fstest.MapFS{
			"x.rego":    {Data: []byte("package bailiff.exec\n\n# METADATA\n# custom: {id: x, undecided: hold}\ndeny contains \"bad\" if " + tt.condition + "\n")},
			"data.json": {Data: []byte(`{"bad": ["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]}`)},
		}, o)
		if err != nil {
			t.Fatal(err)
		}
		if class := p.Explain()[0].Class; class != tt.class || asked != tt.asked {
			t.Errorf("%s, no digests: %v: %v after %d questions, want %v after %d", tt.condition, tt.none, class, asked, tt.class, tt.asked)
		}
		p.Close(t.Context())
	}
}
