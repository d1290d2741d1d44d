#include "data/loader.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <numeric>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include "data/epoch_plan.h"
#include "kernels/launch/check.h"
#include "kernels/launch/parallel.h"
#include "kernels/random/philox.h"

namespace frcnn {

std::vector<int64_t> epoch_order(int64_t images, uint64_t seed, int64_t epoch) {
  std::vector<int64_t> order(static_cast<size_t>(images));
  std::iota(order.begin(), order.end(), int64_t{0});
  const kernels::RandomKey key{seed, kernels::kStreamShuffle, static_cast<uint64_t>(epoch)};
  for (size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[kernels::random_below(key, i - 1, static_cast<uint32_t>(i))]);
  return order;
}

bool epoch_flip(uint64_t seed, int64_t epoch, int64_t index) {
  const kernels::RandomKey key{seed, kernels::kStreamAugment, static_cast<uint64_t>(epoch)};
  return (kernels::random_bits(key, static_cast<uint64_t>(index)) >> 31) != 0;
}

int64_t epoch_scale(uint64_t seed, int64_t epoch, int64_t index, int64_t choices) {
  const kernels::RandomKey key{seed, kernels::kStreamAugment + kernels::kStreamStride,
                               static_cast<uint64_t>(epoch)};
  return kernels::random_below(key, static_cast<uint64_t>(index), static_cast<uint32_t>(choices));
}

namespace {

LabelledPicture decoded(const ImageRecord& record) {
  LabelledPicture picture{decode_image(record.path), record.objects};
  check(picture.image.width == record.width && picture.image.height == record.height,
        "{}: expected a picture of {}x{} as in its annotation, found {}x{}", record.path.string(),
        record.width, record.height, picture.image.width, picture.image.height);
  return picture;
}

/// The mosaic of a picture and three others.
LabelledPicture mosaic_of(const Dataset& dataset, const LabelledPicture& first,
                          const AugmentKey& key) {
  std::array<LabelledPicture, 3> others;
  const auto partners = mosaic_partners(key, static_cast<int64_t>(dataset.images.size()));
  for (size_t i = 0; i < others.size(); ++i)
    others[i] = decoded(dataset.images[static_cast<size_t>(partners[i])]);
  const auto [x, y] = mosaic_point(key, first.image.width, first.image.height);
  return mosaic({&first, &others[0], &others[1], &others[2]}, x, y);
}

}  // namespace

Sample load_sample(const Dataset& dataset, const LoaderSettings& settings, int64_t epoch,
                   int64_t index, int64_t copy) {
  const ImageRecord& record = dataset.images.at(static_cast<size_t>(index));
  // What is drawn for a copy is what would be drawn for a picture of this number.
  const int64_t number = index + copy * static_cast<int64_t>(dataset.images.size());
  LabelledPicture picture = decoded(record);
  const AugmentKey key{settings.seed, epoch, number};
  if (draws_mosaic(settings.augment, key) && picture.image.width > 1 && picture.image.height > 1)
    picture = mosaic_of(dataset, picture, key);
  picture = augment(std::move(picture), settings.augment, key);
  const bool flip = settings.flip && epoch_flip(settings.seed, epoch, number);
  InputSettings input = settings.input;
  if (const auto sides = static_cast<int64_t>(settings.shorter_sides.size()); sides > 0)
    input.shorter_side =
        settings
            .shorter_sides[static_cast<size_t>(epoch_scale(settings.seed, epoch, number, sides))];
  ImageRecord changed;
  changed.id = record.id;
  changed.objects = std::move(picture.objects);
  Sample sample = make_sample(picture.image, changed, input, flip);
  sample.index = index;
  return sample;
}

/// The stream is a sequence of tickets 0, 1, 2 ...: one picture each. Workers draw tickets in order
/// and put the sample into slot ticket % slots; the consumer empties the slots in ticket order. A
/// worker may draw a ticket only while it is less than `slots` ahead of the consumer, so that its
/// slot is free.
struct Loader::State {
  struct Slot {
    std::optional<Sample> sample;
    std::exception_ptr error;
    LoaderCursor after;
    bool ready() const { return sample.has_value() || error; }
  };
  struct Ticket {
    size_t slot = 0;
    int64_t epoch = 0;
    int64_t index = 0;
    int64_t copy = 0;
  };

  State(const Dataset& data, const LoaderSettings& loader_settings, LoaderCursor start);
  void work(const std::stop_token& stop);
  std::optional<Ticket> draw(const std::stop_token& stop);
  void produce(const Ticket& ticket, Slot& result) const;

  const Dataset& dataset;
  const LoaderSettings settings;
  const int64_t images;

  std::mutex mutex;
  std::condition_variable_any room, ready;  // a slot became free; a slot was filled
  std::vector<Slot> slots;
  std::vector<double> factors;  // of repeat_factors(), or none
  std::vector<uint8_t> tall;    // by picture, or none
  EpochPlan plan;               // of the epoch in `cursor`
  LoaderCursor cursor;          // of the next ticket to draw
  LoaderCursor delivered;       // of the next ticket to hand out
  int64_t drawn = 0, taken = 0;
  bool all_drawn = false;
  std::chrono::steady_clock::duration waited{};
  std::vector<std::jthread> workers;  // last: they stop before the rest goes
};

Loader::State::State(const Dataset& data, const LoaderSettings& loader_settings, LoaderCursor start)
    : dataset(data),
      settings(loader_settings),
      images(static_cast<int64_t>(data.images.size())),
      cursor(start),
      delivered(start) {
  require_not_empty(data, false);
  check(settings.batch >= 1, "[loader] expected a batch of at least 1, got {}", settings.batch);
  check(start.epoch >= 0 && start.position >= 0 && start.position <= images,
        "[loader] expected a start within an epoch of {} pictures, got epoch {}, position {}",
        images, start.epoch, start.position);
  if (settings.balance > 0) factors = repeat_factors(dataset, settings.balance);
  if (settings.group_shapes)
    for (const ImageRecord& image : dataset.images) tall.push_back(image.height > image.width);
  slots.resize(static_cast<size_t>(std::max(1, settings.prefetch)) *
               static_cast<size_t>(settings.batch));
  for (int i = 0; i < std::max(1, settings.workers); ++i)
    workers.emplace_back([this](const std::stop_token& stop) { work(stop); });
}

std::optional<Loader::State::Ticket> Loader::State::draw(const std::stop_token& stop) {
  std::unique_lock lock(mutex);
  const auto has_room = [&] {
    return all_drawn || drawn - taken < static_cast<int64_t>(slots.size());
  };
  if (!room.wait(lock, stop, has_room) || stop.stop_requested() || all_drawn) return {};
  if (cursor.position == images) {
    if (!settings.endless) {
      all_drawn = true;
      ready.notify_all();
      return {};
    }
    cursor = {cursor.epoch + 1, 0};
    plan = {};
  }
  if (plan.pictures.empty() && settings.shuffle)
    plan = plan_epoch(images, factors, tall, settings.batch, settings.seed, cursor.epoch);
  Ticket ticket;
  ticket.slot = static_cast<size_t>(drawn) % slots.size();
  ticket.epoch = cursor.epoch;
  ticket.index = cursor.position;
  if (settings.shuffle) {
    ticket.index = plan.pictures[static_cast<size_t>(cursor.position)];
    ticket.copy = plan.copies[static_cast<size_t>(cursor.position)];
  }
  ++cursor.position;
  ++drawn;
  slots[ticket.slot].after = cursor;
  return ticket;
}

void Loader::State::produce(const Ticket& ticket, Slot& result) const {
  const ImageRecord& record = dataset.images[static_cast<size_t>(ticket.index)];
  try {
    result.sample = load_sample(dataset, settings, ticket.epoch, ticket.index, ticket.copy);
  } catch (const Error&) {
    result.error = std::current_exception();
  } catch (const std::exception& error) {
    result.error =
        std::make_exception_ptr(Error(fmt::format("{}: {}", record.path.string(), error.what())));
  }
}

void Loader::State::work(const std::stop_token& stop) {
  // Per thread: the OpenMP pool belongs to the consumer.
  kernels::set_num_threads(1);
  while (const std::optional<Ticket> ticket = draw(stop)) {
    Slot result;
    produce(*ticket, result);
    const std::lock_guard lock(mutex);
    Slot& slot = slots[ticket->slot];
    slot.sample = std::move(result.sample);
    slot.error = result.error;
    ready.notify_all();
  }
}

Loader::Loader(const Dataset& dataset, const LoaderSettings& settings, LoaderCursor start)
    : state_(std::make_unique<State>(dataset, settings, start)) {}

Loader::~Loader() = default;

Batch Loader::next() {
  State& state = *state_;
  const auto begin = std::chrono::steady_clock::now();
  Batch batch;
  std::unique_lock lock(state.mutex);
  while (static_cast<int>(batch.samples.size()) < state.settings.batch) {
    State::Slot& slot = state.slots[static_cast<size_t>(state.taken) % state.slots.size()];
    const auto ended = [&] { return state.all_drawn && state.taken == state.drawn; };
    state.ready.wait(lock, [&] { return slot.ready() || ended(); });
    if (ended()) break;
    // The slot stays as it is: a stream with an error ends there.
    if (slot.error) std::rethrow_exception(slot.error);
    batch.samples.push_back(std::move(*slot.sample));
    state.delivered = slot.after;
    slot = {};
    ++state.taken;
    state.room.notify_all();
  }
  std::stable_sort(batch.samples.begin(), batch.samples.end(),
                   [](const Sample& a, const Sample& b) {
                     return std::pair(a.padded_height, a.padded_width) <
                            std::pair(b.padded_height, b.padded_width);
                   });
  batch.cursor = state.delivered;
  state.waited += std::chrono::steady_clock::now() - begin;
  return batch;
}

int64_t Loader::batches_per_epoch() const {
  return (state_->images + state_->settings.batch - 1) / state_->settings.batch;
}

double Loader::wait_seconds() const {
  const std::lock_guard lock(state_->mutex);
  return std::chrono::duration<double>(state_->waited).count();
}

}  // namespace frcnn
