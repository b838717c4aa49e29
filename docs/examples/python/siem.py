#!/usr/bin/env python3
"""A client of Bailiff's event stream that knows the proto and nothing else.

It prints each event as a line of JSON and keeps its place in a file: started
again it goes on where it stopped. It needs the packages python3-grpcio and
python3-protobuf, and the messages that protoc makes of the proto:

    protoc -I proto --python_out=/tmp/bailiff-proto proto/bailiff/v1/event*.proto
    PYTHONPATH=/tmp/bailiff-proto docs/examples/python/siem.py --cursor place.json
"""

import argparse
import json
import os
import sys

import grpc
from google.protobuf import json_format

from bailiff.v1 import event_service_pb2 as pb


def load(path):
    """Return the place; without a file it is the oldest event there is."""
    try:
        with open(path, encoding="utf-8") as f:
            return pb.Cursor(**json.load(f))
    except FileNotFoundError:
        return pb.Cursor()


def save(path, place):
    """Replace the file, so that there is always a whole one."""
    if not path or not place.seq:
        return
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump({"run_id": place.run_id, "seq": place.seq}, f)
        f.flush()
        os.fsync(f.fileno())
    os.replace(path + ".new", path)


def records(stream, place):
    """Yield the records that are to be kept, and keep the place up to date."""
    for batch in stream:
        for record in batch.records:
            kind = record.WhichOneof("record")
            if kind == "start":  # events of this run follow
                place.run_id = record.start.run_id
                continue
            if kind == "gap" and record.gap.run_id and record.gap.count:
                place.run_id, place.seq = record.gap.run_id, record.gap.last_seq
            elif kind == "event":
                place.seq = record.event.seq
            yield kind, record


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--socket", default="/run/bailiff/bailiff.sock")
    parser.add_argument("--cursor", default="", help="file that keeps the place")
    parser.add_argument("--limit", type=int, default=0, help="end after this many events")
    args = parser.parse_args()

    request = pb.EventsRequest()
    if args.cursor:
        request.after.CopyFrom(load(args.cursor))
    place, n = pb.Cursor(), 0
    with grpc.insecure_channel("unix:" + args.socket) as channel:
        events = channel.unary_stream(
            "/bailiff.v1.EventService/Events",
            request_serializer=pb.EventsRequest.SerializeToString,
            response_deserializer=pb.EventsResponse.FromString,
        )
        for kind, record in records(events(request), place):
            line = json_format.MessageToDict(record, preserving_proto_field_name=True)
            print(json.dumps(line), flush=True)
            save(args.cursor, place)
            n += kind == "event"
            if args.limit and n == args.limit:
                return
    sys.exit("the agent has stopped")


if __name__ == "__main__":
    main()
