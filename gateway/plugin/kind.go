package plugin

// Kind returns the kind of a provider, "email" or "oauth" for instance, and "unknown" while
// it is not loaded. It is fit for a metric's label: a manifest's kind is a short name and
// providers are few.
func (h *Host) Kind(name string) string {
	p, ok := h.find(name)
	if !ok {
		return "unknown"
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.manifest.Kind == "" {
		return "unknown"
	}
	return p.manifest.Kind
}
