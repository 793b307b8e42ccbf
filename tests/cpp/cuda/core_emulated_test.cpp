// What is asked of CUDA beside kernels, and what CUDA refuses: graphs that cannot be recorded, streams that
// are gone.
#include <stpl_rt/error.h>

#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/cuda/emulation.h"
#include "core/cuda/map_pool.h"
#include "emulation_counts.h"
#include "on_device.h"
#include "segmenter/graph_cache.h"

namespace stpl_rt::cuda {
namespace {

TEST(Recording, RefusesWhatCudaRefuses) {
  const Stream stream;
  Event event;
  DeviceBuffer<int> memory;
  const auto refused = [&](auto&& call) {
    Graph graph;
    EXPECT_THROW(graph.capture(stream.handle(), [&](StreamHandle) { call(); }), Error);
  };
  refused([&] { memory.reserve(10); });
  refused([&] { stream.wait(); });
  refused([&] { event.wait(); });
  refused([&] { emulation::enqueue(nullptr, [] {}); });
  memory.reserve(10);  // afterwards all is well
  stream.wait();
}

TEST(GraphCache, WhatCannotBeRecordedIsEnqueuedDirectlyFromThenOn) {
  const Stream stream;
  GraphCache graphs;
  int runs = 0, asked = 0;
  const auto enqueue = [&](StreamHandle on) {
    ++asked;
    if (on != stream.handle()) throw Error(ErrorCode::engine, "a network that allocates");
    emulation::enqueue(on, [&] { ++runs; });
  };
  const int before = emulation::counts().captures;
  for (int i = 0; i < 5; ++i) graphs.run(7, stream.handle(), enqueue);
  stream.wait();
  EXPECT_EQ(runs, 5);
  EXPECT_EQ(asked, 8) << "recorded three times, in vain";
  EXPECT_EQ(emulation::counts().captures, before + 3);
  const auto fails = [](StreamHandle) { throw Error(ErrorCode::engine, "a failure of its own"); };
  EXPECT_THROW(graphs.run(7, stream.handle(), fails), Error);
}

// As where another thread has waited for the whole device meanwhile.
TEST(GraphCache, ARecordingThatFailsOnceIsMadeLater) {
  const Stream stream;
  GraphCache graphs;
  int runs = 0;
  bool is_disturbed = true;
  const auto enqueue = [&](StreamHandle on) {
    if (on != stream.handle() && std::exchange(is_disturbed, false)) {
      throw Error(ErrorCode::engine, "an operation that ends every recording");
    }
    emulation::enqueue(on, [&] { ++runs; });
  };
  const int launches = emulation::counts().launches;
  for (int i = 0; i < 4; ++i) graphs.run(7, stream.handle(), enqueue);
  stream.wait();
  EXPECT_EQ(runs, 4);
  EXPECT_EQ(emulation::counts().launches, launches + 2);
}

TEST(MapPool, ReadersAreWaitedForThoughTheirStreamsAreGone) {
  const Stream writer;
  MapPool pool(0, 64);
  std::vector<std::uint8_t> copied(4, 0);
  const std::uint8_t* memory = nullptr;
  std::optional<Stream> reader(std::in_place);
  {
    const std::shared_ptr<PooledBytes> map = pool.take(4, writer.handle());
    memory = map->data();
    set_bytes(MapPool::writable(*map), 1, 4, writer.handle());
    writer.wait();
    copy_bytes(copied.data(), memory, 4, reader->handle());
    map->read_on(reader->handle());
    map->read_on(per_thread_stream());  // that of whoever lets go is another one
  }
  std::shared_ptr<PooledBytes> again = pool.take(4, writer.handle());
  ASSERT_EQ(again->data(), memory);
  set_bytes(MapPool::writable(*again), 2, 4, writer.handle());
  writer.wait();
  EXPECT_EQ(copied, std::vector<std::uint8_t>(4, 1)) << "read before it was written again";
  again->read_on(reader->handle());
  again.reset();
  reader.reset();
  EXPECT_NO_THROW((void)pool.take(4, writer.handle()));
}

TEST(MapPool, AReaderThatCannotBeMarkedHidesNoOther) {
  const Stream writer;
  MapPool pool(0, 64);
  std::vector<std::uint8_t> copied(4);
  const Stream live;
  {
    std::optional<Stream> gone(std::in_place);
    const std::shared_ptr<PooledBytes> map = pool.take(4, writer.handle());
    set_bytes(MapPool::writable(*map), 1, 4, writer.handle());
    writer.wait();
    map->read_on(gone->handle());
    map->read_on(live.handle());
    copy_bytes(copied.data(), map->data(), 4, live.handle());
    gone.reset();
  }
  const std::shared_ptr<PooledBytes> next = pool.take(4, writer.handle());
  set_bytes(MapPool::writable(*next), 2, 4, writer.handle());
  writer.wait();
  live.wait();
  EXPECT_EQ(copied, std::vector<std::uint8_t>(4, 1)) << "what nobody knows to be read is not written again";
}

TEST(Device, OfMemory) {
  int here = 0;
  EXPECT_EQ(device_of(&here), 0);
  emulation::elsewhere() = &here;
  EXPECT_EQ(device_of(&here), 1);
  emulation::elsewhere() = nullptr;
}

}  // namespace
}  // namespace stpl_rt::cuda
