// SPDX-License-Identifier: Apache-2.0
//
// Test bench of every core: memory, console, the device that ends the run, and the count of cycles and instructions.
//
//   model --memory BASE FILE ro|rw ... --result FILE [--fetch-wait N] [--data-wait N] [--max-cycles N] [--ranges FILE]
//
// Memory is files, mapped: what the program writes is in them afterwards. The addresses of the devices are those of QEMU's
// "virt" machine: a 16550 UART at 0x10000000 (what is written to it goes to standard output) and SiFive's test device at
// 0x00100000 (0x5555 ends the run with status 0, code << 16 | 0x3333 with a code).
//
// A load or store where nothing is, or a store to read-only memory, ends the run as the firmware's own trap handler does:
// with a line "PLINIO-FAULT ..." and status 20. After --max-cycles it ends with "PLINIO-HANG ..." and status 124.
//
// Ranges are as in qemu_plugin/count.c: lines "START END ID" in hexadecimal, END exclusive; ID 0 is the entry function, whose
// first START is where counting begins; ID 1 the harness, which ends it; code in no range counts for the ID before it. An
// instruction is charged the cycles from the retirement of the one before it up to its own.
//
// The result file, decimal: "cycles N", "seconds S" of processor time, "entered N", "finished N", then "ID INSTRUCTIONS CYCLES" per ID.
#include "Vsoc.h"
#include "Vsoc__Dpi.h"
#include "verilated.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

namespace {

constexpr uint32_t kUart = 0x10000000u, kUartBytes = 8, kFinisher = 0x00100000u;
constexpr uint32_t kLineStatus = 0x60u << 8;  // byte 5 of the UART: ready to send
constexpr int kExitUsage = 2, kExitFault = 20, kExitHang = 124;

struct Memory {
  uint32_t base;
  uint32_t size;
  bool writable;
  uint8_t *bytes;
};

std::vector<Memory> memories;
bool running = true;
int status = 0;

[[noreturn]] void refuse(const char *what, const char *name) {
  std::fprintf(stderr, "testbench: %s: %s\n", what, name);
  std::exit(kExitUsage);
}

uint32_t number(const char *text) { return static_cast<uint32_t>(std::strtoul(text, nullptr, 0)); }

uint8_t *find(uint32_t address, bool store) {
  for (const Memory &memory : memories) {
    if (address - memory.base < memory.size) {
      return store && !memory.writable ? nullptr : memory.bytes + ((address - memory.base) & ~3u);
    }
  }
  return nullptr;
}

void map(uint32_t base, const char *path, const char *access) {
  const bool writable = std::strcmp(access, "rw") == 0;
  const int file = open(path, writable ? O_RDWR : O_RDONLY);
  struct stat facts;
  if (file < 0 || fstat(file, &facts) != 0 || facts.st_size == 0 || facts.st_size % 4 != 0) {
    refuse("cannot use memory file", path);
  }
  void *bytes = mmap(nullptr, facts.st_size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file, 0);
  if (bytes == MAP_FAILED) {
    refuse("cannot map memory file", path);
  }
  close(file);
  memories.push_back({base, static_cast<uint32_t>(facts.st_size), writable, static_cast<uint8_t *>(bytes)});
}

// Cycles and instructions of the first call of the entry function, by ID.
class Counter {
 public:
  bool active() const { return state_ != State::kDone; }
  uint64_t entered = 0, finished = 0;

  explicit Counter(const char *path) {
    if (path == nullptr) {
      state_ = State::kDone;
      return;
    }
    std::FILE *file = std::fopen(path, "r");
    unsigned start, end, id;
    bool have_entry = false;
    if (file == nullptr) {
      refuse("cannot read ranges", path);
    }
    while (std::fscanf(file, "%x %x %x", &start, &end, &id) == 3) {
      ranges_.push_back({start, end, id});
      if (id == kEntry && !have_entry) {
        entry_ = start;
        have_entry = true;
      }
      if (id >= counts_.size()) {
        counts_.resize(id + 1);
      }
    }
    std::fclose(file);
    if (!have_entry) {
      refuse("no entry (ID 0) in ranges", path);
    }
    low_ = high_ = entry_;
    for (const Range &range : ranges_) {
      low_ = range.start < low_ ? range.start : low_;
      high_ = range.end > high_ ? range.end : high_;
    }
    ids_.assign((high_ - low_) / 2 + 1, kOutside);
    for (auto range = ranges_.rbegin(); range != ranges_.rend(); ++range) {  // the first of overlapping ranges wins
      for (uint32_t at = range->start; at < range->end; at += 2) {
        ids_[(at - low_) / 2] = range->id;
      }
    }
  }

  void retired(uint32_t pc, uint64_t cycle) {
    const uint32_t id = pc - low_ < high_ - low_ ? ids_[(pc - low_) / 2] : kOutside;
    if (state_ == State::kWaiting && pc == entry_) {
      state_ = State::kCounting;
      entered++;
    }
    if (state_ == State::kCounting) {
      if (id == kHarness) {
        state_ = State::kDone;
        finished++;
      } else {
        current_ = id == kOutside ? current_ : id;
        counts_[current_].instructions++;
        counts_[current_].cycles += cycle - last_;
      }
    }
    last_ = cycle;
  }

  void write(std::FILE *file) const {
    std::fprintf(file, "entered %llu\nfinished %llu\n", (unsigned long long)entered, (unsigned long long)finished);
    for (size_t id = 0; id < counts_.size(); id++) {
      if (counts_[id].instructions != 0) {
        std::fprintf(file, "%zu %llu %llu\n", id, (unsigned long long)counts_[id].instructions,
                     (unsigned long long)counts_[id].cycles);
      }
    }
  }

 private:
  static constexpr uint32_t kEntry = 0, kHarness = 1, kOutside = 0xffffffffu;
  enum class State { kWaiting, kCounting, kDone };
  struct Range {
    uint32_t start, end, id;
  };
  struct Count {
    uint64_t instructions = 0, cycles = 0;
  };
  State state_ = State::kWaiting;
  uint32_t entry_ = 0, low_ = 0, high_ = 0, current_ = kEntry;
  uint64_t last_ = 0;
  std::vector<Range> ranges_;
  std::vector<uint32_t> ids_;
  std::vector<Count> counts_;
};

struct Options {
  unsigned fetch_wait = 0, data_wait = 0;
  uint64_t max_cycles = ~0ull;
  const char *ranges = nullptr, *result = nullptr;
};

Options parse(int count, char **words) {
  Options options;
  for (int i = 1; i < count; i++) {
    const std::string word = words[i];
    const int left = count - 1 - i;
    if (word == "--memory" && left >= 3) {
      map(number(words[i + 1]), words[i + 2], words[i + 3]);
      i += 3;
    } else if (word == "--fetch-wait" && left >= 1) {
      options.fetch_wait = number(words[++i]);
    } else if (word == "--data-wait" && left >= 1) {
      options.data_wait = number(words[++i]);
    } else if (word == "--max-cycles" && left >= 1) {
      options.max_cycles = std::strtoull(words[++i], nullptr, 0);
    } else if (word == "--ranges" && left >= 1) {
      options.ranges = words[++i];
    } else if (word == "--result" && left >= 1) {
      options.result = words[++i];
    } else {
      refuse("unknown or incomplete option", words[i]);
    }
  }
  if (options.result == nullptr || memories.empty()) {
    refuse("missing option", options.result == nullptr ? "--result" : "--memory");
  }
  return options;
}

void tick(Vsoc &soc) {
  soc.clk_i = 1;
  soc.eval();
  soc.clk_i = 0;
  soc.eval();
}

void reset(Vsoc &soc) {
  soc.clk_i = 0;
  soc.rst_ni = 1;
  soc.eval();
  soc.rst_ni = 0;  // an edge, for what resets asynchronously
  soc.eval();
  for (int i = 0; i < 4; i++) {
    tick(soc);
  }
  soc.rst_ni = 1;
  soc.eval();
}

}  // namespace

// What the ports call.

unsigned bus_fetch(unsigned address) {
  const uint8_t *bytes = find(address, false);
  uint32_t word = 0;  // an illegal instruction, where nothing is; prefetching alone is harmless
  if (bytes != nullptr) {
    std::memcpy(&word, bytes, 4);
  }
  return word;
}

svBit bus_load(unsigned address, unsigned *data) {
  const uint8_t *bytes = find(address, false);
  *data = 0;
  if (bytes != nullptr) {
    std::memcpy(data, bytes, 4);
  } else if (address - kUart < kUartBytes) {
    *data = address - kUart >= 4 ? kLineStatus : 0;
  } else {
    return 0;
  }
  return 1;
}

svBit bus_store(unsigned address, unsigned data, unsigned lanes) {
  uint8_t *bytes = find(address, true);
  if (bytes != nullptr) {
    for (unsigned i = 0; i < 4; i++) {
      if (lanes >> i & 1) {
        bytes[i] = static_cast<uint8_t>(data >> (8 * i));
      }
    }
  } else if (address - kUart < kUartBytes) {
    if (address - kUart < 4 && (lanes & 1)) {
      std::putchar(static_cast<int>(data & 0xff));
    }
  } else if ((address & ~3u) == kFinisher) {
    running = false;
    status = (data & 0xffff) == 0x5555 ? 0 : static_cast<int>(data >> 16);
  } else {
    return 0;
  }
  return 1;
}

void bus_fault(unsigned cause, unsigned address, unsigned pc, unsigned ra, unsigned sp) {
  if (running) {
    std::printf("PLINIO-FAULT exception=00000000 pc=%08x cause=%08x address=%08x lr=%08x sp=%08x\n", pc, cause, address, ra,
                sp);
    running = false;
    status = kExitFault;
  }
}

int main(int argc, char **argv) {
  const Options options = parse(argc, argv);
  Counter counter{options.ranges};
  VerilatedContext context;
  Vsoc soc{&context};
  soc.fetch_wait_i = static_cast<CData>(options.fetch_wait);
  soc.data_wait_i = static_cast<CData>(options.data_wait);
  reset(soc);
  uint64_t cycle = 0;
  const std::clock_t start = std::clock();
  while (running && cycle < options.max_cycles && counter.active()) {
    tick(soc);
    cycle++;
    if (soc.retire_o) {
      counter.retired(soc.retire_pc_o, cycle);
    }
  }
  while (running && cycle < options.max_cycles) {
    tick(soc);
    cycle++;
  }
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  if (running) {
    std::printf("PLINIO-HANG pc=%08x cycles=%llu\n", static_cast<unsigned>(soc.retire_pc_o), (unsigned long long)cycle);
    status = kExitHang;
  }
  std::fflush(stdout);
  std::FILE *file = std::fopen(options.result, "w");
  if (file == nullptr) {
    refuse("cannot write", options.result);
  }
  std::fprintf(file, "cycles %llu\nseconds %.6f\n", (unsigned long long)cycle, seconds);
  counter.write(file);
  std::fclose(file);
  soc.final();
  return status;
}
