package main

import (
	"reflect"
)

// configKeys lists the last parts of all keys of the configuration file.
func configKeys() []string {
	var out []string
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Tag.Get("yaml") == "-" {
				continue
			}
			out = append(out, f.Tag.Get("yaml"))
			switch {
			case f.Type.Kind() == reflect.Struct:
				walk(f.Type)
			case f.Type == reflect.TypeFor[[]sinkConfig]():
				walk(f.Type.Elem())
			}
		}
	}
	walk(reflect.TypeFor[config]())
	return out
}

// nearest returns the word that differs least from s, "" if none is near.
func nearest(s string, words []string) string {
	best, at := "", max(2, len(s)/3)+1
	for _, w := range words {
		if d := distance(s, w); d < at {
			best, at = w, d
		}
	}
	return best
}

// distance is the number of letters to put in, take out or replace to get from
// a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0] // of the row above
		row[0] = i + 1
		for j := range len(b) {
			d := left
			if a[i] != b[j] {
				d = 1 + min(left, row[j], row[j+1])
			}
			left, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
