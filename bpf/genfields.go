//go:build ignore

// Command genfields writes fields.h from the field table of internal/event.
package main

import (
	"fmt"
	"os"
	"strings"

	"example.com/bailiff/internal/event"
)

func main() {
	var b strings.Builder
	b.WriteString("/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */\n")
	b.WriteString("/* Code generated from internal/event/fields.go; DO NOT EDIT. */\n")
	b.WriteString("#ifndef BAILIFF_FIELDS_H\n#define BAILIFF_FIELDS_H\n\nenum field {\n\tFIELD_NONE,\n")
	for id := event.FieldID(1); id < event.NumFields; id++ {
		f := event.FieldByID(id)
		name := strings.ToUpper(strings.ReplaceAll(f.Path, ".", "_"))
		fmt.Fprintf(&b, "\tFIELD_%s = %d,\n", name, id)
	}
	fmt.Fprintf(&b, "\tNUM_FIELDS = %d,\n};\n\n#endif\n", event.NumFields)
	if err := os.WriteFile("fields.h", []byte(b.String()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "genfields:", err)
		os.Exit(1)
	}
}
