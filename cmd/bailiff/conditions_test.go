package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/bailiff/enforcer"
	"example.com/bailiff/internal/server"
)

// TestConditionCodes: the server and the enforcer, which do not know each
// other, mean the same.
func TestConditionCodes(t *testing.T) {
	for got, want := range map[string]string{
		server.CondCertificates: enforcer.CondCertificates, server.CondCertExpires: enforcer.CondCertExpires,
	} {
		if got != want {
			t.Errorf("%q in the server is %q in the enforcer", got, want)
		}
	}
}

// TestEachConditionHasItsPlace: in the table of layers, and in the manual.
func TestEachConditionHasItsPlace(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := enforcer.Declared()
	for _, l := range layers(&server.Status{}, time.Now()) {
		for _, code := range l.codes {
			if !slices.ContainsFunc(declared, func(c enforcer.Condition) bool { return c.Code == code }) {
				t.Errorf("layer %s shows %s, which there is not", l.name, code)
			}
		}
	}
	for _, c := range declared {
		if !strings.Contains(string(doc), "| `"+c.Code+"` | "+string(c.Severity)+" |") {
			t.Errorf("docs/operating.md does not list %s as %s", c.Code, c.Severity)
		}
	}
}
