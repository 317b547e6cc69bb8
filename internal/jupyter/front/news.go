package front

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"keyway/internal/jupyter/kernel"
	"keyway/internal/keyway"
)

// News lists the cells that ended while no page was open.
type News struct {
	Last int64         `json:"last"` // number of the latest cell
	All  []kernel.News `json:"news"` // the cells up to that number
}

const (
	// maxNews bounds the number of cells that are kept.
	maxNews = 100
	// newsTime bounds the time for which a request waits. After it, a client that has left is
	// noticed.
	newsTime = 5 * time.Minute
)

// newsroom keeps the news in a file.
type newsroom struct {
	path string

	mu    sync.Mutex
	news  News
	added chan struct{} // closed when news is added
}

// openNews reads the news that an earlier program has left. After an error, the list is empty, and
// the next number is greater than any that a client knows, so that clients receive later news.
func openNews(path string) (*newsroom, error) {
	n := &newsroom{path: path, added: make(chan struct{})}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return n, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &n.news)
	}
	if err != nil {
		n.news = News{Last: time.Now().Unix()}
	}
	return n, err
}

func (n *newsroom) add(all []kernel.News) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.news.All = append(n.news.All, all...)
	n.news.All = n.news.All[max(0, len(n.news.All)-maxNews):]
	n.news.Last += int64(len(all))
	close(n.added)
	n.added = make(chan struct{})
	data, err := json.Marshal(n.news)
	if err != nil {
		return err
	}
	return keyway.WriteFile(n.path, data, 0o600)
}

// after returns the news after the given number. more is closed when further news is added.
func (n *newsroom) after(number int64) (some News, more <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	missed := min(max(n.news.Last-number, 0), int64(len(n.news.All)))
	return News{n.news.Last, n.news.All[len(n.news.All)-int(missed):]}, n.added
}

// serveNews answers with the news after the given number, and waits until there is some. If no cell
// has that number yet, it answers at once.
func (f *Front) serveNews(w http.ResponseWriter, r *http.Request) {
	number, err := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	some, more := f.news.after(number)
	if err != nil || number < 0 || number > some.Last {
		writeJSON(w, News{Last: some.Last, All: []kernel.News{}})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), newsTime)
	defer cancel()
	for len(some.All) == 0 {
		select {
		case <-more:
			some, more = f.news.after(number)
		case <-f.ctx.Done():
			cancel()
		case <-ctx.Done():
			some.All = []kernel.News{}
			writeJSON(w, some)
			return
		}
	}
	writeJSON(w, some)
}

// tell stores the cells whose end no page has seen, for the next client that asks.
func (f *Front) tell(k *kernel.Kernel) {
	all := k.Untold(f.Long)
	if len(all) == 0 {
		return
	}
	f.mu.Lock()
	path := f.notebooks(k.ID)
	f.mu.Unlock()
	for i := range all {
		all[i].Notebook = path
	}
	if err := f.news.add(all); err != nil {
		f.Logf("that cells have ended is not written down: %v", err)
	}
}
