#include "core/cuda/graph.h"

#include "core/cuda/error.h"

namespace stpl_rt::cuda {

Graph::~Graph() {
  if (handle_ != nullptr) (void)cudaGraphExecDestroy(handle_);
}

// Of this thread alone: others go on with their own streams.
void Graph::begin(StreamHandle stream) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning a graph");
}

void Graph::abandon(StreamHandle stream) noexcept {
  cudaGraph_t graph = nullptr;
  (void)cudaStreamEndCapture(stream, &graph);
  if (graph != nullptr) (void)cudaGraphDestroy(graph);
  (void)cudaGetLastError();  // the failure that led here is reported, not this one
}

void Graph::end(StreamHandle stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream, &graph), "ending a graph");
  cudaGraphExec_t made = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&made, graph, 0);
  (void)cudaGraphDestroy(graph);
  check(status, "making a graph");
  if (handle_ != nullptr) (void)cudaGraphExecDestroy(handle_);
  handle_ = made;
}

void Graph::launch(StreamHandle stream) const { check(cudaGraphLaunch(handle_, stream), "starting a graph"); }

}  // namespace stpl_rt::cuda
