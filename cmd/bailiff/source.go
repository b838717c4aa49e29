package main

import (
	"context"

	"example.com/bailiff/policy"
	"example.com/bailiff/policy/lower"
	"example.com/bailiff/rules"
)

// source is where a bundle comes from: a directory, a tar.gz file, or, if
// empty, the rules that are built in.
type source string

const embedded = "the embedded rules"

func (s source) String() string {
	if s == "" {
		return embedded
	}
	return string(s)
}

func (s source) load(ctx context.Context, packs ...policy.Pack) (*policy.Policy, *policy.Report, error) {
	return s.loadFor(ctx, lower.DefaultTarget(), packs...)
}

// loadFor is load for a certain kernel.
func (s source) loadFor(ctx context.Context, t lower.Target, packs ...policy.Pack) (*policy.Policy, *policy.Report, error) {
	if s == "" {
		return policy.LoadFS(ctx, rules.FS, policy.Options{Packs: packs, Target: &t})
	}
	return policy.Load(ctx, string(s), policy.Options{Packs: packs, Target: &t})
}

func sourceArg(args []string) source {
	if len(args) == 0 {
		return ""
	}
	return source(args[0])
}
