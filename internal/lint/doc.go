// Package lint holds the rules of this repository as tests: who may import
// whom, how long a file may be, what a log line looks like. There is nothing in
// it but its tests.
package lint
