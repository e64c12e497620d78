// When a store becomes visible to other blocks: at random, but no later than the memory model of PTX promises.
//
// Each block has a copy of the arrays that a kernel writes, and plain stores stay in it until the block fences or the
// launch ends; a fence shows them to all blocks.  Relaxed stores to a word are in one order, and a relaxed load takes one of them, at random, but none older than its block has seen; half the
// time it takes the newest, so that who asks again gets it.  Words have no order among them, but by a fence of the
// thread before its store and one after the load that saw it.
//
// This is stronger than PTX where a fence shows plain stores to all, and where threads of a block see at once what one
// of them has seen or stored; and no load sees a store that is still to come.
#pragma once
#include <string.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace shim {

typedef unsigned long long Bits, Size;
typedef std::vector<unsigned char> Bytes;

constexpr size_t GUARD = 4096;

struct Random {
  Bits state;
  int below(int n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return int(state % Bits(n));
  }
};

inline Bits load_plainly(const void* from, int bytes) {
  Bits bits = 0;
  memcpy(&bits, from, bytes);
  return bits;
}

// A pointer to an array of so many bytes in the value of an argument.
struct Pointer {
  Size argument, offset, size, written;

  char*& of(void** values) const { return *(char**)((char*)values[argument] + offset); }
};

class GlobalMemory {
 public:
  bool is_mixed = false;  // a word was stored to in both ways, and none came clearly first

  // Copies the arrays that are written for each block; without pointers, memory is as on one core.
  GlobalMemory(int blocks, int threads, int arguments, void** values, const Size* sizes,
               const std::vector<Pointer>& pointers)
      : threads_per_block_(threads), views_(blocks), acquired_(blocks * threads), released_(blocks * threads) {
    for (const Pointer& pointer : pointers) {
      char* begin = pointer.of(values);
      if (!begin || !pointer.written || is_inside(begin)) continue;
      arrays_.push_back({begin, size_t(pointer.size), size_});
      size_ += (pointer.size + 63) / 64 * 64 + GUARD;
    }
    Bytes image(size_, 0xFF);
    for (const Array& array : arrays_) memcpy(&image[array.at], array.begin, array.size);
    copies_.assign(blocks, image), shown_ = copies_;
    word_at_.assign(size_, -1);
    for (int block = 0; block < blocks; ++block) {
      values_.emplace_back(), places_.emplace_back();
      for (int i = 0; i < arguments; ++i) values_[block].emplace_back((char*)values[i], (char*)values[i] + sizes[i]);
      for (Bytes& value : values_[block]) places_[block].push_back(value.data());
      for (const Pointer& pointer : pointers) {
        char*& begin = pointer.of(places_[block].data());
        if (const Array* array = is_inside(begin)) begin = (char*)&copies_[block][array->at] + (begin - array->begin);
      }
    }
  }

  // The arguments of a block, in which its copies are.
  void** arguments(int block) { return places_[block].data(); }

  // Of the thread that is number `thread` of all.
  Bits load(int thread, const void* from, int bytes, Random& random) {
    const int block = thread / threads_per_block_;
    const int number = word_of(block, from);
    if (number < 0) return load_plainly(from, bytes);
    const std::vector<Message>& messages = words_[number].messages;
    int& seen = view_of(block)[number];
    is_mixed |= load_plainly(from, bytes) != messages[seen].bits;
    const int newest = int(messages.size()) - 1;
    see(block, number, random.below(2) ? newest : seen + random.below(newest - seen + 1));
    if (messages[seen].released) merge(acquired_[thread], *messages[seen].released);
    return messages[seen].bits;
  }

  void store(int thread, void* to, Bits bits, int bytes) {
    const int block = thread / threads_per_block_;
    const size_t at = (unsigned char*)to - copies_[block].data();
    if (at >= size_) return void(memcpy(to, &bits, bytes));
    if (word_at_[at] < 0) {
      word_at_[at] = int(words_.size());
      words_.push_back({at, bytes, {{load_plainly(to, bytes), nullptr}}});
    }
    std::vector<Message>& messages = words_[word_at_[at]].messages;
    messages.push_back({bits, released_[thread]});
    see(block, word_at_[at], int(messages.size()) - 1);
  }

  // Orders what a block has seen and stored before what it stores next, and sees what was so ordered elsewhere.
  void fence(int thread) {
    const int block = thread / threads_per_block_;
    publish(block);
    advance(block, acquired_[thread]);
    released_[thread] = std::make_shared<View>(view_of(block));
  }

  // Puts everything where the arrays are; returns whether nothing was written beside them.
  bool finish() {
    for (size_t block = 0; block < copies_.size(); ++block) {
      for (size_t number = 0; number < words_.size(); ++number) {
        const Word& word = words_[number];
        const Bits seen = word.messages[view_of(int(block))[number]].bits;
        is_mixed |= load_plainly(&copies_[block][word.at], word.bytes) != seen;
      }
      publish(int(block));
    }
    Bytes& all = copies_[0];
    for (const Word& word : words_) memcpy(&all[word.at], &word.messages.back().bits, word.bytes);
    for (const Array& array : arrays_) {
      memcpy(array.begin, &all[array.at], array.size);
      memset(&all[array.at], 0xFF, array.size);
    }
    return std::all_of(all.begin(), all.end(), [](unsigned char byte) { return byte == 0xFF; });
  }

 private:
  typedef std::vector<int> View;  // for each word, the message that was seen last
  struct Array {
    char* begin;
    size_t size, at;
  };
  struct Message {
    Bits bits;
    std::shared_ptr<const View> released;  // what is seen by whoever fences after it has seen this
  };
  struct Word {
    size_t at;
    int bytes;
    std::vector<Message> messages;
  };

  int threads_per_block_;
  size_t size_ = GUARD;
  std::vector<Array> arrays_;
  std::vector<Bytes> copies_, shown_;  // of each block: its memory, and what of it is no plain store of its own
  std::vector<std::vector<Bytes>> values_;   // of each block: the arguments
  std::vector<std::vector<void*>> places_;   // and where they are
  std::vector<int> word_at_;
  std::vector<Word> words_;
  std::vector<View> views_;                            // of each block
  std::vector<View> acquired_;                         // of each thread: what it sees from its next fence on
  std::vector<std::shared_ptr<const View>> released_;  // of each thread: what it had seen at its last fence

  const Array* is_inside(const char* pointer) const {
    for (const Array& array : arrays_)
      if (pointer >= array.begin && pointer < array.begin + array.size) return &array;
    return nullptr;
  }

  int word_of(int block, const void* pointer) const {
    const size_t at = (const unsigned char*)pointer - copies_[block].data();
    return at < size_ ? word_at_[at] : -1;
  }

  View& view_of(int block) {
    views_[block].resize(words_.size());
    return views_[block];
  }

  static void merge(View& view, const View& other) {
    view.resize(std::max(view.size(), other.size()));
    for (size_t i = 0; i < other.size(); ++i) view[i] = std::max(view[i], other[i]);
  }

  void see(int block, int number, int message) {
    const Word& word = words_[number];
    view_of(block)[number] = message;
    memcpy(&copies_[block][word.at], &word.messages[message].bits, word.bytes);
    memcpy(&shown_[block][word.at], &word.messages[message].bits, word.bytes);
  }

  void advance(int block, const View& view) {
    for (size_t i = 0; i < view.size(); ++i)
      if (view[i] > view_of(block)[i]) see(block, int(i), view[i]);
  }

  // Shows all blocks what a block has stored plainly.
  void publish(int block) {
    const unsigned char *mine = copies_[block].data(), *known = shown_[block].data();
    for (size_t begin = 0; begin < size_; begin += 64) {
      if (memcmp(mine + begin, known + begin, 64) == 0) continue;
      for (size_t at = begin; at < begin + 64; ++at) {
        if (mine[at] == known[at]) continue;
        const unsigned char byte = mine[at];
        for (size_t other = 0; other < copies_.size(); ++other) copies_[other][at] = shown_[other][at] = byte;
      }
    }
  }
};

}  // namespace shim
