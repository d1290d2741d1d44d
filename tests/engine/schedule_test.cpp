#include "engine/schedule.h"

#include <cmath>

#include "engine/optimizer.h"
#include "kernels/launch/check.h"
#include "tests/support/devices.h"
#include "tests/support/support.h"

using namespace frcnn;
using namespace frcnn::test;

namespace {

/// The settings of a group of schedules.h5, "<method>/<rule>_<warm-up steps>".
GroupSettings golden_settings(const std::string& method, const std::string& name) {
  const std::string group = method + "/" + name;
  const auto value = [&](const char* key) { return golden_attribute("schedules", group, key); };
  const auto whole = [&](const char* key) { return static_cast<int64_t>(value(key)); };
  GroupSettings s;
  s.method = method_by_name(method, "method");
  s.momentum = value("momentum");
  s.beta2 = value("beta2");
  s.epsilon = value("epsilon");
  s.weight_decay = value("weight_decay");
  s.schedule.base = value("lr");
  s.schedule.rule = schedule_rule_by_name(name.substr(0, name.find('_')), "schedule");
  s.schedule.boundaries = {whole("boundary0"), whole("boundary1")};
  s.schedule.gamma = value("gamma");
  s.schedule.warmup_steps = whole("warmup");
  s.schedule.warmup_factor = value("warmup_factor");
  s.schedule.total_steps = whole("total_steps");
  s.schedule.final_share = value("final_share");
  s.schedule.power = value("power");
  return s;
}

/// Follows the golden run from step `first` to before `last`, and compares rates and weights.
void follow(Optimizer& optimizer, const Tensor& w, const std::string& group, int64_t first,
            int64_t last) {
  const auto gradients = golden_f64("schedules", "gradients");
  const auto rates = golden_f64("schedules", group + "/rates");
  const auto after = golden_f64("schedules", group + "/after");
  const auto count = static_cast<std::ptrdiff_t>(w.numel());
  const auto row = [&](const Golden<double>& all, int64_t step) {
    return std::vector<double>(all.values.begin() + step * count,
                               all.values.begin() + (step + 1) * count);
  };
  for (int64_t step = first; step < last; ++step) {
    INFO(group << " step " << step);
    CHECK(std::abs(optimizer.learning_rates()[0].second / rates.values[static_cast<size_t>(step)] -
                   1) < 1e-12);
    Tensor handle = w;
    handle.grad().copy_from(Tensor::from(w.shape(), row(gradients, step)).to(w.device()));
    handle.mark_grad_written();
    optimizer.step();
    optimizer.zero_grad();
    FRCNN_CHECK_SAME(w.to_vector<double>(), row(after, step), 1e-12, 1e-12);
  }
}

/// A single weight vector with its optimiser.
struct Setup {
  Parameters parameters;
  Tensor w;
  Optimizer optimizer;
  Setup(const std::string& group, const GroupSettings& settings, Device device)
      : parameters(1, DType::f64, true, device) {
    const auto start = golden_f64("schedules", group + "/start");
    w = parameters.create("w", {static_cast<int64_t>(start.values.size())}, ParameterKind::weight,
                          {Initializer::Method::zero, 0});
    optimizer.add_group("w", parameters.all(), settings);
    optimizer.zero_grad();
    w.copy_from(Tensor::from(w.shape(), start.values));
  }
};

}  // namespace

TEST_CASE("A8 A14 SGD, Nesterov, Adam, AdamW under every schedule equal torch over 24 steps") {
  std::vector<Device> devices = gpus();
  devices.insert(devices.begin(), Device{});
  int runs = 0;
  for (const Device device : devices)
    for (const std::string method : {"sgd", "nesterov", "adam", "adamw"})
      for (const std::string& name : golden_members("schedules", method)) {
        INFO(device.name());
        const std::string group = method + "/" + name;
        Setup run(group, golden_settings(method, name), device);
        follow(run.optimizer, run.w, group, 0, 24);
        ++runs;
      }
  CHECK(runs == 32 * static_cast<int>(devices.size()));
}

TEST_CASE("optimiser: a state that is stored and given back goes on with the same bits") {
  for (const std::string method : {"sgd", "nesterov", "adam", "adamw"}) {
    const std::string group = method + "/cosine_5";
    const GroupSettings settings = golden_settings(method, "cosine_5");
    Setup whole(group, settings, Device{}), first(group, settings, Device{}),
        second(group, settings, Device{});
    follow(whole.optimizer, whole.w, group, 0, 24);
    follow(first.optimizer, first.w, group, 0, 11);
    second.w.copy_from(first.w);
    const auto from = first.optimizer.state(), to = second.optimizer.state();
    REQUIRE(from.size() == to.size());
    for (size_t i = 0; i < to.size(); ++i) {
      CHECK(from[i].first == to[i].first);
      Tensor(to[i].second).copy_from(from[i].second);
    }
    second.optimizer.set_steps(11);
    follow(second.optimizer, second.w, group, 11, 24);
    CHECK(second.w.to_vector<double>() == whole.w.to_vector<double>());
  }
}

TEST_CASE("schedule: the ends of a run, names, and the line for summaries") {
  Schedule s{2.0, {}, 0.1, 4, 0.5, ScheduleRule::cosine, 24, 0.1, 1};
  CHECK(s.at(0) == 1.0);
  CHECK(s.at(4) == 2.0);
  CHECK(s.at(14) == Approx(2 * (0.1 + 0.9 * 0.5)));
  CHECK(s.at(24) == Approx(0.2));
  CHECK(s.at(1000) == Approx(0.2));
  CHECK(s.text() == "cosine to x 0.1 at 24, warm-up 4 steps from x 0.5");
  s.rule = ScheduleRule::polynomial;
  s.power = 2;
  CHECK(s.at(14) == Approx(2 * (0.1 + 0.9 * 0.25)));
  CHECK(s.text() == "polynomial to x 0.1 at 24, power 2, warm-up 4 steps from x 0.5");
  CHECK(Schedule{0.001, {60000}, 0.1, 0, 0.1}.text() == "step x 0.1 at 60000");
  CHECK(Schedule{0.001, {}, 0.1, 0, 0.1}.text() == "constant");
  // A warm-up as long as the run or longer: no division by zero, and the rate stays that of it.
  Schedule all{1.0, {}, 0.1, 10, 0, ScheduleRule::cosine, 10, 0, 1};
  for (int64_t t = 0; t < 10; ++t) CHECK(all.at(t) == Approx(0.1 * static_cast<double>(t)));
  CHECK_THROWS_WITH(schedule_rule_by_name("linear", "optimizer.schedule"),
                    "optimizer.schedule must be one of \"constant\", \"step\", \"cosine\", "
                    "\"polynomial\", found \"linear\"");
  CHECK_THROWS_WITH(method_by_name("rmsprop", "optimizer.method"),
                    "optimizer.method must be one of \"sgd\", \"nesterov\", \"adam\", \"adamw\", "
                    "found \"rmsprop\"");
}
