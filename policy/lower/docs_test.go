package lower

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// TestDocumented: docs/lowering.md has a heading for each code, and no other.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/lowering.md")
	if err != nil {
		t.Fatal(err)
	}
	var headings []Code
	for _, m := range regexp.MustCompile(`(?m)^## (L\d+)$`).FindAllStringSubmatch(string(text), -1) {
		headings = append(headings, Code(m[1]))
	}
	if want := Codes(); !slices.Equal(headings, want) {
		t.Errorf("headings %v, codes %v", headings, want)
	}
}
