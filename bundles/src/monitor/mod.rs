//! rich-monitor's parts: the process that holds a container.
