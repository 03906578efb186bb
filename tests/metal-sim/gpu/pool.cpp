#include "pool.h"

#include "pipeline.h"
#include "signals.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace gpu {

namespace {

struct Job {
    const std::function<void(Worker &)> * work;
    unsigned wanted;  // helpers that may still join
    unsigned running; // helpers that have joined and not ended
};

// Lives as long as the process: threads may still wait in it when static objects are destroyed.
struct Pool {
    std::mutex mutex;
    std::condition_variable job_came;
    std::condition_variable helper_ended;
    std::deque<Job *> jobs;
    unsigned threads = 0;
    std::vector<Worker *> idle; // workers of callers
};

Pool & pool() {
    static Pool & p = *new Pool;
    return p;
}

void help() {
    provide_signal_stack();
    Worker worker;
    Pool & p = pool();
    std::unique_lock lock(p.mutex);
    for (;;) {
        p.job_came.wait(lock, [&] { return !p.jobs.empty(); });
        Job * job = p.jobs.front();
        ++job->running;
        if (--job->wanted == 0) {
            p.jobs.pop_front();
        }
        lock.unlock();
        (*job->work)(worker);
        lock.lock();
        if (--job->running == 0) {
            p.helper_ended.notify_all();
        }
    }
}

} // namespace

unsigned available_helpers() {
    const unsigned workers = settings().workers ? settings().workers : std::thread::hardware_concurrency();
    return workers > 1 ? workers - 1 : 0;
}

void on_workers(unsigned helpers, const std::function<void(Worker &)> & work) {
    provide_signal_stack();
    Pool & p = pool();
    Job job = {&work, std::min(helpers, available_helpers()), 0};
    Worker * own = nullptr;
    {
        const std::lock_guard guard(p.mutex);
        if (!p.idle.empty()) {
            own = p.idle.back();
            p.idle.pop_back();
        }
        for (; p.threads < job.wanted; ++p.threads) {
            std::thread(help).detach();
        }
        if (job.wanted) {
            p.jobs.push_back(&job);
        }
    }
    if (job.wanted == 1) {
        p.job_came.notify_one();
    } else if (job.wanted) {
        p.job_came.notify_all();
    }
    if (!own) {
        own = new Worker;
    }
    work(*own);

    std::unique_lock lock(p.mutex);
    p.idle.push_back(own);
    const auto queued = std::find(p.jobs.begin(), p.jobs.end(), &job);
    if (queued != p.jobs.end()) {
        p.jobs.erase(queued);
    }
    p.helper_ended.wait(lock, [&] { return job.running == 0; });
}

} // namespace gpu
