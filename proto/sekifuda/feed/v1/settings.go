package feedv1

// The kind and the id of the Settings entry.
const (
	SettingsKind = "settings"
	SettingsID   = "gateway"
)
