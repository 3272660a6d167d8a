package adminapi

import (
	"context"
	"net/http"
)

// Cache looks and purges in what nodes keep of answers.
type Cache interface {
	// Cached is an answer that a node keeps under a key, in Kong's JSON; nil: none does.
	Cached(ctx context.Context, key string) []byte
	// Purge forgets what is kept under a key, on every node, and reports whether any had it.
	Purge(ctx context.Context, key string) bool
	// Flush forgets everything, on every node.
	Flush(ctx context.Context)
}

const proxyCache = "proxy-cache"

func (a *API) registerProxyCache() {
	if a.Cache == nil || a.Config.Schema().Plugin(proxyCache) == nil {
		return
	}
	a.handle("/proxy-cache", only("DELETE", (*request).flushCache))
	for _, path := range []string{"/proxy-cache/{cache_key}", "/proxy-cache/{plugin_id}/caches/{cache_key}"} {
		a.handle(path, map[string]handler{"GET": (*request).cached, "DELETE": (*request).purgeCached})
	}
}

// cacheKey is the key in the path; empty when no proxy-cache is configured that could have it.
func (q *request) cacheKey() (string, error) {
	key := q.wild[len(q.wild)-1]
	if len(q.wild) > 1 {
		_, err := q.Config.Get(q.r.Context(), q.Config.Schema().Table("plugins"), q.wild[0], nil)
		return key, bareNotFound(err)
	}
	inUse, err := q.Config.PluginsInUse(q.r.Context())
	if err != nil {
		return "", err
	}
	for _, name := range inUse {
		if name == proxyCache {
			return key, nil
		}
	}
	return "", nil
}

func (q *request) cached() error {
	key, err := q.cacheKey()
	if err != nil {
		return err
	}
	raw := q.Cache.Cached(q.r.Context(), key)
	q.unheard()
	if key != "" && raw != nil {
		q.send(http.StatusOK, "application/json; charset=utf-8", raw)
		return nil
	}
	return notFound(q)
}

func (q *request) purgeCached() error {
	key, err := q.cacheKey()
	if err != nil {
		return err
	}
	had := key != "" && q.Cache.Purge(q.r.Context(), key)
	q.unheard()
	if !had {
		return notFound(q)
	}
	q.noContent()
	return nil
}

func (q *request) flushCache() error {
	q.Cache.Flush(q.r.Context())
	q.unheard()
	q.noContent()
	return nil
}
