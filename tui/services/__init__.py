"""What the app gives its screens, dialogs and keys: objects that each own one thing, made in `base_app`."""
