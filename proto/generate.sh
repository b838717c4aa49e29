#!/bin/sh
# Makes the Go code of proto/bailiff/v1. Needs protoc and its well-known types
# (Debian: protobuf-compiler, libprotobuf-dev); the two plugins are built at
# the versions below. Called by `make generate`.
#
#   proto/generate.sh          Go code
#   proto/generate.sh freeze   also accept today's API as the one to stay
#                              compatible with (frozen.binpb): only for a release
set -eu

GEN_GO=v1.36.12
GEN_GRPC=v1.6.2
PROTOC=3.21.12 # Debian 12; its version stands in the head of the generated files

cd "$(dirname "$0")"
have=$(protoc --version | sed 's/.* //')
if [ "$have" != "$PROTOC" ]; then
	echo "generate.sh: protoc is $have, the committed code was made by $PROTOC: the head of each file will differ" >&2
fi

tools=$(cd .. && pwd)/build/tools
export GOBIN="$tools"
[ -x "$tools/protoc-gen-go" ] && "$tools/protoc-gen-go" --version 2>&1 | grep -q "$GEN_GO" ||
	go install "google.golang.org/protobuf/cmd/protoc-gen-go@$GEN_GO"
[ -x "$tools/protoc-gen-go-grpc" ] && "$tools/protoc-gen-go-grpc" --version 2>&1 | grep -q "${GEN_GRPC#v}" ||
	go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@$GEN_GRPC"

PATH="$tools:$PATH" protoc -I . \
	--go_out=. --go_opt=paths=source_relative \
	--go-grpc_out=. --go-grpc_opt=paths=source_relative \
	bailiff/v1/*.proto

if [ "${1-}" = freeze ]; then
	protoc -I . --include_imports --descriptor_set_out=bailiff/v1/frozen.binpb bailiff/v1/*.proto
fi
