// The parts of a frame's work, each recorded as a graph for every constellation of buffers that it meets.
#pragma once

#include <stpl_rt/error.h>

#include <cstdint>
#include <vector>

#include "core/cuda/graph.h"
#include "core/cuda/stream.h"

namespace stpl_rt {

class GraphCache {
 public:
  // Enqueues what `enqueue` puts on the stream it is given. The first time it does so directly, which lets
  // libraries load and set up what cannot be recorded; from then on it is recorded, and where that fails a
  // few times, it is enqueued directly for good. `key` stands for all that its arguments depend on.
  template <class Enqueue>
  void run(std::uint32_t key, cuda::StreamHandle stream, Enqueue&& enqueue) {
    Entry* const entry = find(key);
    if (entry == nullptr) {
      enqueue(stream);
      entries_.push_back({.key = key, .graph = {}});
      return;
    }
    if (entry->graph.empty() && entry->refusals < kMostRefusals) record(*entry, enqueue);
    if (entry->graph.empty()) {
      enqueue(stream);
    } else {
      entry->graph.launch(stream);
    }
  }
  // For new sizes; nothing of it may be on its way.
  void clear() noexcept { entries_.clear(); }

 private:
  // Another thread that waits for the whole device ends what is being recorded: once is not for good.
  static constexpr int kMostRefusals = 3;

  struct Entry {
    std::uint32_t key;
    cuda::Graph graph;
    int refusals = 0;
  };
  template <class Enqueue>
  void record(Entry& entry, Enqueue&& enqueue) {
    try {
      entry.graph.capture(recorder_.handle(), enqueue);
    } catch (const Error&) {  // what fails for another reason fails once more, directly, and says why
      ++entry.refusals;
    }
  }
  Entry* find(std::uint32_t key) noexcept {
    for (Entry& entry : entries_) {
      if (entry.key == key) return &entry;
    }
    return nullptr;
  }

  cuda::Stream recorder_;  // nothing ever runs on it: the caller's may be one that cannot be recorded
  std::vector<Entry> entries_;
};

}  // namespace stpl_rt
