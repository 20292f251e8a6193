//! All the SQL, one file per noun.
