package main

import (
	"testing"

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
