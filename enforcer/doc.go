package enforcer

// Ordering and back-pressure, as properties that the tests hold us to:
//
//  1. Events leave in the order in which Kernel.Next gave them. A verdict that
//     takes long holds back what came after it, but never longer than
//     Options.Deadline, counted from the moment the event was read.
//  2. Everything that leaves has a sequence number, one higher than the last,
//     notices included. Events that were dropped have numbers
//     too: a hole is a loss, and its size is how much.
//  3. Sinks are called one event at a time, in the order of Options.Sinks.
//  4. The reader of the ring waits for nothing but the sinks. The policy engine
//     has queues of fixed length; what finds them full leaves unjudged,
//     counted, with the reason in the event. When half of the pipeline is full,
//     no event waits for the engine any more.
//  5. Acts that the kernel left undecided go before the re-checking of what it
//     decided: a flood of refusals cannot push a judgement out of its queue.
//  6. A verdict is stored (in our cache, in the kernel) only if it is a function
//     of the decision key, and never if the engine failed.
//  7. An event is judged by the policy of the generation that it names, also
//     when a newer one is active by the time it is read.
