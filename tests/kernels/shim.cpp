// Runs a CUDA kernel on a CPU, each thread a fiber, one after another on one core.
//
// Threads give way where CUDA's wait for each other: at barriers, shuffles and in loops that wait.  Seed 0 steps all
// warps in turn; any other lets warps, chosen at random, run ahead of the others as far as barriers allow, which is
// what shows that one is missing, and lets what they store become visible to others late; see memory.h.  The same seed
// gives the same order.  Shared memory begins as NaN, and ends in a guard.
#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <ucontext.h>

#include <memory>
#include <utility>
#include <vector>

#include "memory.h"

namespace shim {

struct Thread {
  int thread, block;
};
Thread* now;

namespace {

constexpr size_t STACK = 64 * 1024;
enum State { READY, WAITING, DONE };
enum Outcome { FINISHED, DEADLOCK, OUTSIDE_OF_SHARED_MEMORY, OUTSIDE_OF_AN_ARRAY, MIXED_STORES };

struct Fiber : Thread {
  State state = READY;
  bool begun = false;
  jmp_buf here;
};
struct Meeting {  // of the threads of a warp or a block
  int size = 0, arrived = 0;
};
struct Warp {
  Meeting meeting;
  double values[32], exchanged[32];
  struct {
    float a[8], b[4], c[4];
  } fragments[32];
};

std::vector<Fiber> fibers;
std::vector<std::unique_ptr<char[]>> stacks;  // of the fibers, and kept for those of the next launch
std::vector<Warp> warps;
std::vector<Meeting> blocks;
std::vector<Bytes> shared;
int threads_per_block;
size_t shared_bytes;
jmp_buf scheduler;
ucontext_t start;
void (*entry)(void**);
std::unique_ptr<GlobalMemory> global;
Random chance;
bool is_weak;
Outcome fault;

int index_of(const Thread* fiber) { return fiber->block * threads_per_block + fiber->thread; }

void give_way() {
  Fiber* fiber = static_cast<Fiber*>(now);
  if (_setjmp(fiber->here) == 0) _longjmp(scheduler, 1);
}

// Waits until all `size` threads from fiber `first` on have come.  The last one calls `then` and frees the others.
template <class F>
void meet(Meeting& meeting, int first, F then) {
  if (++meeting.arrived == meeting.size) {
    meeting.arrived = 0;
    then();
    for (int i = first; i < first + meeting.size; ++i) fibers[i].state = READY;
  } else {
    static_cast<Fiber*>(now)->state = WAITING;
    give_way();
  }
}

void begin() {
  entry(global->arguments(now->block));
  static_cast<Fiber*>(now)->state = DONE;
  _longjmp(scheduler, 1);
}

void resume(Fiber& fiber) {
  now = &fiber;
  if (_setjmp(scheduler) != 0) return;
  if (fiber.begun) _longjmp(fiber.here, 1);
  fiber.begun = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = stacks[index_of(&fiber)].get();
  context.uc_stack.ss_size = STACK;
  context.uc_link = nullptr;
  makecontext(&context, begin, 0);
  setcontext(&context);
}

unsigned char* shared_memory_of(int block) {
  unsigned char* memory = shared[block].data();
  return memory + (16 - (size_t)memory % 16) % 16;
}

// Runs each thread of a warp that can run; returns whether any could.
bool step(int warp, int first_lane) {
  bool any = false;
  for (int i = 0; i < 32; ++i) {
    Fiber& fiber = fibers[warp * 32 + (first_lane + i) % 32];
    if (fiber.state != READY) continue;
    any = true;
    resume(fiber);
  }
  return any;
}

bool run_all() {
  std::vector<int> running(warps.size());
  for (size_t w = 0; w < warps.size(); ++w) running[w] = int(w);
  for (bool any = true; any;) {
    any = false;
    for (size_t left = warps.size(); left > 0; --left) {
      const int chosen = is_weak ? chance.below(int(left)) : int(warps.size() - left);
      const int warp = running[chosen];
      if (is_weak) std::swap(running[chosen], running[left - 1]);
      for (int k = is_weak ? 1 + chance.below(40) : 1; k > 0 && step(warp, is_weak ? chance.below(32) : 0); --k)
        any = true;
    }
  }
  for (const Fiber& fiber : fibers)
    if (fiber.state != DONE) return false;
  return true;
}

}  // namespace

void block_barrier() { meet(blocks[now->block], now->block * threads_per_block, [] {}); }

void wait_a_little() { give_way(); }

double shuffle_xor(double value, int mask) {
  const int index = index_of(now), lane = index % 32;
  Warp& warp = warps[index / 32];
  warp.values[lane] = value;
  meet(warp.meeting, index / 32 * 32, [&warp] { memcpy(warp.exchanged, warp.values, sizeof warp.values); });
  return warp.exchanged[lane ^ mask];
}

// c + the products of a row and a column, as coarsely as any published tensor core sums: numbers are cut off below the
// last bit of the largest, and so is the sum.
float sum_of(float c, const float* row, const float* column) {
  double terms[17] = {c}, largest = fabs(c), sum = 0;
  for (int k = 0; k < 16; ++k) {
    terms[k + 1] = double(row[k]) * column[8 * k];
    largest = fmax(largest, fabs(terms[k + 1]));
    sum += terms[k + 1];
  }
  for (double term : terms)
    if (!isfinite(term)) return float(c + sum);
  int exponent;
  frexp(largest, &exponent);
  sum = 0;
  for (double term : terms) sum += trunc(ldexp(term, 24 - exponent));
  sum = ldexp(sum, exponent - 24);
  const float rounded = float(sum);
  return fabs(rounded) > fabs(sum) ? nextafterf(rounded, 0) : rounded;
}

// PTX's mma.m16n8k16 of a warp, in the layout of its fragments: c += a b.
void mma(float (&c)[4], const float (&a)[8], const float (&b)[4]) {
  const int index = index_of(now), lane = index % 32;
  Warp& warp = warps[index / 32];
  memcpy(warp.fragments[lane].a, a, sizeof a);
  memcpy(warp.fragments[lane].b, b, sizeof b);
  memcpy(warp.fragments[lane].c, c, sizeof c);
  meet(warp.meeting, index / 32 * 32, [&warp] {
    float left[16][16], right[16][8];
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 8; ++i) {
        const int k = lane % 4 * 2 + i % 2 + i / 4 * 8;
        left[lane / 4 + i / 2 % 2 * 8][k] = warp.fragments[lane].a[i];
        if (i < 4) right[lane % 4 * 2 + i % 2 + i / 2 * 8][lane / 4] = warp.fragments[lane].b[i];
      }
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i) {
        float& sum = warp.fragments[lane].c[i];
        sum = sum_of(sum, left[lane / 4 + i / 2 * 8], &right[0][lane % 4 * 2 + i % 2]);
      }
  });
  memcpy(c, warp.fragments[lane].c, sizeof c);
}

void* shared_memory() { return shared_memory_of(now->block); }

Bits load_relaxed(const void* from, int bytes) { return global->load(index_of(now), from, bytes, chance); }

void store_relaxed(void* to, Bits bits, int bytes) { global->store(index_of(now), to, bits, bytes); }

void fence() { global->fence(index_of(now)); }

int run(int grid, int block, Bits bytes, Bits seed, void (*thread)(void**), int count, void** arguments,
        const Size* sizes, const Size* pointers, int pointer_count, const bool* written) {
  threads_per_block = block, shared_bytes = bytes, entry = thread;
  is_weak = seed != 0, chance = Random{seed * 0x9E3779B97F4A7C15ull + 1}, fault = FINISHED;
  std::vector<Pointer> known((const Pointer*)pointers, (const Pointer*)pointers + (is_weak ? pointer_count : 0));
  for (Pointer& pointer : known)
    if (pointer.offset == 0 && written[pointer.argument]) pointer.written = 1;
  global.reset(new GlobalMemory(grid, block, count, arguments, sizes, known));
  fibers = std::vector<Fiber>(size_t(grid) * block);
  for (size_t i = 0; i < fibers.size(); ++i) fibers[i].thread = int(i % block), fibers[i].block = int(i / block);
  while (stacks.size() < fibers.size()) stacks.emplace_back(new char[STACK]);
  warps.assign(fibers.size() / 32, Warp());
  blocks.assign(grid, Meeting{block, 0});
  for (Warp& warp : warps) warp.meeting.size = 32;
  shared.assign(grid, Bytes(bytes + GUARD + 16, 0xFF));
  const bool finished = run_all();
  if (!global->finish()) fault = OUTSIDE_OF_AN_ARRAY;
  if (global->is_mixed) fault = MIXED_STORES;
  if (!finished) fault = DEADLOCK;
  for (int b = 0; b < grid; ++b)
    for (size_t i = bytes; i < bytes + GUARD; ++i)
      if (shared_memory_of(b)[i] != 0xFF) fault = OUTSIDE_OF_SHARED_MEMORY;
  fibers.clear();
  return fault;
}

}  // namespace shim
