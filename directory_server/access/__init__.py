"""Who may do what: bucket policies, access control lists, and the decision made of them."""
