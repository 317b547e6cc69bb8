package watch

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"keyway/internal/keyway"
	"keyway/internal/sleep"
)

// Bounds and times of waiting.
const (
	maxFile = 64 << 10 // bytes of a job's file
	// maxJobs bounds the jobs that are watched at a time: each takes a connection.
	maxJobs = 32
	// maxEnds bounds the ends that are reported at once.
	maxEnds = 8
	// lookEvery is the interval at which the directory is searched for new jobs.
	lookEvery = 2 * time.Second
	// A connection that failed is tried again after retryFirst, then after twice as
	// long each time, up to retryMost.
	retryFirst = 2 * time.Second
	retryMost  = 5 * time.Minute
)

// Job is a watched job. With Cells, the job continues, and the reported ends are those of cells in
// notebooks.
type Job struct {
	Workspace keyway.Name `json:"workspace"`
	Session   keyway.Name `json:"session"`
	Command   string      `json:"command"`
	Cells     bool        `json:"cells,omitempty"`
	Seen      int64       `json:"seen,omitempty"` // the number of the last cell; below 0: unknown
}

// Report is the result of a Waiter.
type Report struct {
	Ends []Ended
	Next *Job // the job to wait for next, in place of this one; nil: none
}

// Ended is an end of a job or a cell.
type Ended struct {
	Job
	End
}

// End is the result of a job that has ended.
type End struct {
	Code   int    `json:"code"`
	Signal string `json:"signal"` // its name, if one ended the job
	OOM    bool   `json:"oom"`    // for lack of memory
	// Reason says why the job is lost, if it left no exit code.
	Reason string `json:"reason"`
	// Cell says that a cell has ended, whose Code is 0 or 1.
	Cell bool `json:"-"`
}

// String returns e in a few words.
func (e End) String() string {
	switch {
	case e.Reason != "" && e.Code < 0:
		return "lost: " + e.Reason
	case e.OOM:
		return "out of memory (" + e.Signal + ")"
	case e.Signal != "":
		return "ended by " + e.Signal
	case e.Code == 0:
		return "finished"
	case e.Cell:
		return "failed"
	}
	return "failed with exit code " + strconv.Itoa(e.Code)
}

// ErrGone is returned by a Waiter for a job that its workspace no longer knows.
var ErrGone = errors.New("there is no such job any more")

// Waiter waits for one job. Of its errors only ErrGone is final.
type Waiter func(context.Context, Job) (Report, error)

// Add adds a job to those whose end is awaited.
func Add(dir string, j Job) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return keyway.WriteFile(j.path(dir), data, 0o600)
}

const suffix = ".json"

// path returns a job's file: @ is in no name.
func (j Job) path(dir string) string {
	name := string(j.Workspace) + "@" + string(j.Session)
	if j.Cells {
		name += "@"
	}
	return filepath.Join(dir, name+suffix)
}

// AddCells adds the cells of a workspace's notebooks, unless they are awaited already. Cells that
// ended before are not reported.
func AddCells(dir string, workspace, session keyway.Name) error {
	j := Job{Workspace: workspace, Session: session, Cells: true, Seen: -1}
	if _, err := os.Stat(j.path(dir)); err == nil {
		return nil
	}
	return Add(dir, j)
}

// Forget removes everything that is awaited in a workspace that no longer exists.
func Forget(dir string, workspace keyway.Name) error {
	files, err := filepath.Glob(filepath.Join(dir, string(workspace)+"@*"+suffix))
	for _, path := range files {
		if removeErr := os.Remove(path); !errors.Is(removeErr, os.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
	}
	return err
}

// Run waits for the jobs in dir until ctx ends, and calls tell with the end of each. It removes a
// job from the list before it reports its end, so that no end is reported twice.
func Run(ctx context.Context, dir string, wait Waiter, tell func(Job, End), log *slog.Logger) {
	w := &watcher{dir: dir, wait: wait, tell: tell, log: log, jobs: map[string]bool{}}
	defer w.all.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		w.look(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

type watcher struct {
	dir  string
	wait Waiter
	tell func(Job, End)
	log  *slog.Logger
	all  sync.WaitGroup

	mu   sync.Mutex
	jobs map[string]bool // by file, those that are waited for
}

// look begins to wait for jobs that are new.
func (w *watcher) look(ctx context.Context) {
	d, err := os.Open(w.dir)
	if err != nil {
		return // no job yet
	}
	defer d.Close()
	names, _ := d.Readdirnames(16 * maxJobs)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range names {
		path := filepath.Join(w.dir, name)
		if !strings.HasSuffix(name, suffix) || w.jobs[path] || len(w.jobs) >= maxJobs {
			continue
		}
		j, err := read(path)
		if unread := (*fs.PathError)(nil); errors.As(err, &unread) {
			continue // the next look may read it, as when there is no descriptor left now
		}
		if err != nil || j.path(w.dir) != path {
			w.log.Warn("not a job", "file", path, "error", err)
			_ = os.Remove(path)
			continue
		}
		w.jobs[path] = true
		w.all.Go(func() {
			w.watch(ctx, j, path)
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.jobs, path)
		})
	}
}

func read(path string) (j Job, err error) {
	f, err := os.Open(path)
	if err != nil {
		return j, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err == nil {
		err = json.Unmarshal(data, &j)
	}
	for _, name := range []keyway.Name{j.Workspace, j.Session} {
		if _, nameErr := keyway.ParseName(string(name)); err == nil {
			err = nameErr
		}
	}
	return j, err
}

// watch waits for one job, as often as it takes.
func (w *watcher) watch(ctx context.Context, j Job, path string) {
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		report, err := w.wait(ctx, j)
		switch {
		case err == nil:
			if j, pause = w.told(j, report), retryFirst/2; j.Workspace == "" {
				return
			}
		case errors.Is(err, ErrGone):
			_ = os.Remove(path)
			return
		}
		if err != nil {
			w.log.Info("job not reached", "workspace", j.Workspace, "session", j.Session, "error", err)
		}
		if sleep.For(ctx, pause) != nil {
			return
		}
	}
}

// told reports ends after they were removed from the list. It returns the job to wait for next, if
// there is one.
func (w *watcher) told(j Job, r Report) (next Job) {
	_, err := os.Stat(j.path(w.dir))
	switch {
	case errors.Is(err, os.ErrNotExist): // forgotten meanwhile
		return Job{}
	case r.Next != nil:
		next, err = *r.Next, Add(w.dir, *r.Next)
	default:
		err = os.Remove(j.path(w.dir))
	}
	if err != nil {
		w.log.Warn("the list of jobs", "error", err)
		return Job{}
	}
	for _, e := range r.Ends[:min(len(r.Ends), maxEnds)] {
		w.tell(e.Job, e.End)
	}
	return next
}
