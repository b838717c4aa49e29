// Package bailiffv1 is the wire API of Bailiff, generated from the .proto files
// beside it by proto/generate.sh. What is in frozen.binpb stays: fields and
// methods may be added, never removed, renumbered or retyped.
package bailiffv1
