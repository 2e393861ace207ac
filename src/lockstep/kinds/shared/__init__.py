"""What several kinds of training have in common. No kind imports a kind; they meet here."""
